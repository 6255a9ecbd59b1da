import { createHash } from 'node:crypto'

/** A queue and the id that BullMQ knows a job by. */
export interface JobRef {
  queue: string
  jobId: string
}

/** The queue of a job's name: what is before its first dot, or `default`. */
export function queueOf(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? 'default' : name.slice(0, dot)
}

/** The id that users see: it can go into a URL. */
export function toPublicId({ queue, jobId }: JobRef): string {
  return `${queue}.${jobId}`
}

export function fromPublicId(id: unknown): JobRef | undefined {
  if (typeof id !== 'string') return undefined
  const dot = id.indexOf('.')
  return dot > 0 && dot < id.length - 1 ? { queue: id.slice(0, dot), jobId: id.slice(dot + 1) } : undefined
}

/** The job id of an idempotency key: hashed, since BullMQ forbids `:` and whole numbers, and keys may be of any length. */
export function idOfKey(name: string, key: string): string {
  return `k${createHash('sha256').update(`${name}\0${key}`).digest('base64url')}`
}

/** The job id of one tick of a cron job. */
export function idOfTick(name: string, tick: number): string {
  return `c${createHash('sha256').update(name).digest('base64url').slice(0, 16)}-${tick}`
}

/** Where Redis keeps since when a cron job is known: its name with its times. No key of BullMQ's has so few parts. */
export function firstSeenKey(prefix: string, name: string, text: string): string {
  return `${prefix}:first-seen-1-${createHash('sha256').update(`${name}\0${text}`).digest('base64url')}`
}
