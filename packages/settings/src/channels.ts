import { type Channel, createChannel } from '@fastify-scale/kit'

/** A change reached this process. */
export interface ChangedMessage {
  key: string
  version: number
  /** When it was made, in ms since 1970 by the clock of Redis. */
  at: number
}

/** Something in Redis was not taken over: this process goes on with the value it had. */
export interface RejectedMessage {
  key: string
  reason: string
}

/** All settings were loaded: at the start, and after Redis lost its data or this process missed too much. */
export interface LoadedMessage {
  /** The number of settings that somebody had set. */
  set: number
}

/** `fastify-scale:settings:changed` */
export const changedChannel: Channel<ChangedMessage> = createChannel('settings', 'changed')
/** `fastify-scale:settings:rejected` */
export const rejectedChannel: Channel<RejectedMessage> = createChannel('settings', 'rejected')
/** `fastify-scale:settings:loaded` */
export const loadedChannel: Channel<LoadedMessage> = createChannel('settings', 'loaded')
