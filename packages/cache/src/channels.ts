import { type Channel, createChannel } from '@fastify-scale/kit'

/** A value was found: in process memory (`l1`) or in Redis (`l2`); `stale` where it was past its ttl. */
export interface HitMessage {
  key: string
  level: 'l1' | 'l2'
  stale: boolean
}
/** No value was there, or it was not valid any more. */
export interface MissMessage {
  key: string
}
/** A loader was run. `outcome`: what became of its result. `ms`: how long it took. */
export interface LoadMessage {
  key: string
  outcome: 'filled' | 'voided' | 'unconfirmed' | 'uncached' | 'failed'
  ms: number
}
/** What was under the key is not an entry of ours, or is damaged; it was taken as a miss. */
export interface CorruptMessage {
  key: string
  reason: string
}
/** A value was answered and not cached: too large. */
export interface SkipMessage {
  key: string
  bytes: number
}
/** Redis went away (`open`) or is back. `master`: which one of a Redis Cluster (`host:port`), else empty. */
export interface BreakerMessage {
  open: boolean
  master: string
  reason?: string
}
/** The link that keeps process memory honest came up or went down. */
export interface TrackingMessage {
  armed: boolean
  reason?: string
}
/** A new epoch began: nothing older is served. */
export interface EpochMessage {
  reason: string
}

export const hitChannel: Channel<HitMessage> = createChannel('cache', 'hit')
export const missChannel: Channel<MissMessage> = createChannel('cache', 'miss')
export const loadChannel: Channel<LoadMessage> = createChannel('cache', 'load')
export const corruptChannel: Channel<CorruptMessage> = createChannel('cache', 'corrupt')
export const skipChannel: Channel<SkipMessage> = createChannel('cache', 'skip')
export const breakerChannel: Channel<BreakerMessage> = createChannel('cache', 'breaker')
export const trackingChannel: Channel<TrackingMessage> = createChannel('cache', 'tracking')
export const epochChannel: Channel<EpochMessage> = createChannel('cache', 'epoch')
