import { type Channel, createChannel } from '@fastify-scale/kit'
import type { Encoding } from './encodings.ts'

/** One body was encoded, for one answer or to be kept. */
export interface EncodedMessage {
  encoding: Encoding
  /** Size of the body before, in bytes. */
  bytesIn: number
  /** Size after, in bytes. */
  bytesOut: number
  /** `answer`: for one answer; `variant`: to be stored and sent many times. */
  purpose: 'answer' | 'variant'
}

/** `fastify-scale:compress:encoded`: buffers only; streams are not metered. */
export const encodedChannel: Channel<EncodedMessage> = createChannel('compress', 'encoded')
