/** An order to a running launcher: one line of JSON on its control socket. */
export interface Order {
  v: 1
  order: string
  argument?: unknown
}

/** What comes back: any number of news, one answer. One line of JSON each. */
export type Reply =
  | { v: 1; news: unknown }
  | { v: 1; ok: true; answer?: unknown }
  | { v: 1; ok: false; error: string; code?: string }

/** No order is longer than this, in bytes. */
export const LONGEST_LINE = 65_536

export function encode(message: Order | Reply): string {
  return `${JSON.stringify(message)}\n`
}

export function readOrder(line: string): Order | undefined {
  const value = parse(line) as Partial<Order> | undefined
  return value?.v === 1 && typeof value.order === 'string' ? (value as Order) : undefined
}

export function readReply(line: string): Reply | undefined {
  const value = parse(line) as { v?: unknown; ok?: unknown; news?: unknown } | undefined
  return value?.v === 1 && (typeof value.ok === 'boolean' || 'news' in value) ? (value as unknown as Reply) : undefined
}

function parse(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
