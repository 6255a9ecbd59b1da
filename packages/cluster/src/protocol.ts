/**
 * What the primary and its workers say to each other about lifecycle and connections. Calls and notes of the plugin
 * travel on the same channel as messages of their own kind (`bus.ts`); each side leaves the other's alone.
 */

/** Version of these messages. The launcher outlives deploys, so a worker of another version must be told apart. */
export const PROTOCOL = 1

/** Primary -> worker. */
export type ToWorker =
  /**
   * Says how to listen; `handles` listening handles follow, each in a message of its own. `addresses`: with `reuse-port`,
   * all that the worker binds itself.
   */
  | { t: 'listen'; mode: ListenMode; address: ListenAddress; handles: number; addresses?: ListenAddress[] }
  /** Comes with one listening handle. */
  | { t: 'handle' }
  /**
   * Comes with a connection. `idle`: it was kept alive by another worker. `key`: what its client goes by, where
   * connections are sticky. `head`: what was read from it already, base64.
   */
  | { t: 'conn'; idle: boolean; key?: number; head?: string }
  /**
   * Drain and close. `handOver`: another worker is there to take idle connections. `budget` in ms. `paced`: the primary
   * says `taken` for each of them.
   */
  | { t: 'drain'; handOver: boolean; budget: number; paced?: boolean }
  /** Another worker has taken over a connection that this one gave. */
  | { t: 'taken' }
  /**
   * Answer to `drained`: the worker disconnects, and ends. By then it has answered all that was sent before, connections of
   * node:cluster included: one that it has not acknowledged when the channel closes would hang for ever.
   */
  | { t: 'leave' }
  /** How many slots there are now. */
  | { t: 'count'; count: number }
  /** Copy log lines to the primary, or stop doing so. */
  | { t: 'tail'; on: boolean }

/** Worker -> primary. */
export type FromWorker =
  /** The channel is listened to; the app is being loaded. */
  | { t: 'hello' }
  /** The app is loaded, readiness checks fail: `reason` names them. Sent at each try. */
  | { t: 'waiting'; reason: string }
  /** The app is loaded and its checks pass: where shall it listen? `adopts`: it can be given connections. */
  | { t: 'where'; adopts: boolean }
  /** Listening: connections may come. */
  | { t: 'ready' }
  /** The app can't be started; the process ends. */
  | { t: 'failed'; message: string; code?: string; stack?: string }
  /** `count` connections were taken over. */
  | { t: 'took'; count: number }
  /** Comes with a connection that another worker shall serve; `key` and `head` as they came. */
  | { t: 'give'; key?: number; head?: string }
  /** Nothing is left; the primary answers `leave`. */
  | { t: 'drained'; moved: number; cut: number }
  /** The event loop lives. */
  | ({ t: 'beat' } & Beat)
  /** So does this, in between, where the launcher is soon to take silence for a hang. */
  | { t: 'alive' }
  /** One log line, while tailed. */
  | { t: 'line'; line: string }

/**
 * given: the primary accepts and sends connections. shared: workers accept from the primary's listening handles.
 * reuse-port: each worker has a socket of its own on the same port, and the kernel spreads connections over them.
 * cluster: node:cluster does it all, on a Node whose internals are not what we know.
 */
export type ListenMode = 'given' | 'shared' | 'reuse-port' | 'cluster'

/** One address that the primary listens on. */
export type ListenAddress =
  | { address: string; port: number; family: 'IPv4' | 'IPv6' }
  /** Unix socket. */
  | { path: string }

/** What a worker measures about itself since its last beat. */
export interface Beat {
  /** Event-loop utilisation, 0 to 1. */
  elu: number
  /** Event-loop delay, 99th percentile, in ms. */
  delay: number
  /** Heap in use, in bytes. */
  heap: number
  /** Open connections. */
  connections: number
  /** Those of them that were upgraded, such as websockets. */
  upgraded: number
  /** Those of them that have no request. */
  idle: number
  /** Requests answered. */
  requests: number
  /** Requests whose connection ended before they were answered, since the worker began. */
  aborted?: number
  /** 99th percentile of their latency in ms; absent where nothing was answered. */
  p99?: number
}

/** Of a field that may be absent the type ends in `?`. */
type Shape = Record<string, `${'string' | 'number' | 'boolean' | 'object'}${'' | '?'}`>
type Checks = [field: string, type: string, optional: boolean][]

const FROM_WORKER = checks<FromWorker['t']>({
  hello: {},
  waiting: { reason: 'string' },
  where: { adopts: 'boolean' },
  ready: {},
  failed: { message: 'string' },
  took: { count: 'number' },
  give: { key: 'number?', head: 'string?' },
  drained: { moved: 'number', cut: 'number' },
  beat: {
    elu: 'number',
    delay: 'number',
    heap: 'number',
    connections: 'number',
    idle: 'number',
    upgraded: 'number',
    requests: 'number',
    aborted: 'number?',
    p99: 'number?',
  },
  alive: {},
  line: { line: 'string' },
})

const TO_WORKER = checks<ToWorker['t']>({
  listen: { mode: 'string', address: 'object', handles: 'number' },
  handle: {},
  conn: { idle: 'boolean', key: 'number?', head: 'string?' },
  drain: { handOver: 'boolean', budget: 'number', paced: 'boolean?' },
  taken: {},
  leave: {},
  count: { count: 'number' },
  tail: { on: 'boolean' },
})

function checks<T extends string>(shapes: Record<T, Shape>): Record<string, Checks> {
  const check = ([field, type]: [string, string]): Checks[number] => [field, type.replace('?', ''), type.endsWith('?')]
  return Object.fromEntries(
    Object.entries<Shape>(shapes).map(([name, shape]) => [name, Object.entries(shape).map(check)]),
  )
}

/** Wraps a message for the channel. */
export function pack<T extends ToWorker | FromWorker>(message: T): T & { fs: number } {
  return { fs: PROTOCOL, ...message }
}

/** The message where it is one of ours and well-formed, else `undefined`: what else travels here is nobody's fault. */
export function readFromWorker(message: unknown): FromWorker | undefined {
  return read<FromWorker>(message, FROM_WORKER)
}

export function readToWorker(message: unknown): ToWorker | undefined {
  return read<ToWorker>(message, TO_WORKER)
}

function read<T>(message: unknown, shapes: Record<string, Checks>): T | undefined {
  if (typeof message !== 'object' || message === null) return undefined
  const fields = message as Record<string, unknown>
  if (fields['fs'] !== PROTOCOL || typeof fields['t'] !== 'string' || !Object.hasOwn(shapes, fields['t']))
    return undefined
  for (const [name, type, optional] of shapes[fields['t']] as Checks) {
    const value = fields[name]
    if (optional && value === undefined) continue
    // A NaN or an infinity does not survive JSON: it arrives as null.
    if (typeof value !== type || value === null) return undefined
    if (type === 'number' && (value as number) < 0) return undefined
  }
  return message as T
}
