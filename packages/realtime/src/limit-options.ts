import { type Size, checkKnown, parseInteger, parseSize } from '@fastify-scale/kit'
import { fail } from './check.ts'

export interface LimitOptions {
  /** Largest message from a client, after which its connection is cut (close code 1009). Default `'100KB'`. */
  maxPayload?: Size
  /** Largest `auth` of a handshake, in its JSON form; a larger one is refused unparsed: `AUTH_TOO_LARGE`. Default `'16KB'`. */
  maxAuth?: Size
  /** Messages a second from one connection; a client that sends more is read more slowly, and cut past 10 s of debt. Default 50. */
  events?: number
  /** Rooms that a client may be in, per socket; it may join twice as many at once, and a fifth of it each second. Default 100. */
  rooms?: number
  /**
   * Handshakes a second from one address (`request.ip`: mind `trustProxy`) to one process; an `auth` of n times `maxAuth`
   * counts as n more. Default 1,000.
   */
  handshakes?: number
  /** Messages that may wait for a client that reads nothing for a second; at eight times as many it is cut at once. Default 1,000. */
  slowMessages?: number
  /** The same in bytes. Default `'4MB'`. */
  slowBytes?: Size
  /** Messages for the other processes that wait while Redis is away; what is above is dropped and counted. Default 10,000. */
  pendingPublishes?: number
}

export interface ResolvedLimits {
  maxPayload: number
  maxAuth: number
  events: number
  rooms: number
  handshakes: number
  slowMessages: number
  slowBytes: number
  pendingPublishes: number
}

/** Fills in defaults and checks. @throws SCALE_REALTIME_OPTION */
export function resolveLimits(limits: LimitOptions): ResolvedLimits {
  const counts = {
    events: 50,
    rooms: 100,
    handshakes: 1_000,
    slowMessages: 1_000,
    pendingPublishes: 10_000,
  }
  const sizes = { maxPayload: '100KB', maxAuth: '16KB', slowBytes: '4MB' }
  checkKnown(limits, [...Object.keys(counts), ...Object.keys(sizes)], "option 'limits'", fail)
  const resolved: Record<string, number> = {}
  for (const name of Object.keys(counts) as (keyof typeof counts)[])
    resolved[name] = parseInteger(limits[name] ?? counts[name], { name: `limits.${name}`, fail })
  for (const name of Object.keys(sizes) as (keyof typeof sizes)[])
    resolved[name] = parseSize(limits[name] ?? sizes[name], { name: `limits.${name}`, min: 64, fail })
  return resolved as unknown as ResolvedLimits
}
