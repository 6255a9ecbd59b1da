import { type Channel, createChannel } from '@fastify-scale/kit'

/** A job, as channels name it. */
export interface JobMessage {
  queue: string
  name: string
  id: string
}

/** A handler is about to run. */
export interface StartedMessage extends JobMessage {
  /** From 1. */
  attempt: number
  /** How many runs before this one ended without a result because their process died. */
  reruns: number
  /** How long the job had waited since it was added or its delay was over, in ms. */
  waited: number
}

export interface CompletedMessage extends JobMessage {
  /** How long the handler ran, in ms. */
  ms: number
}

export interface FailedMessage extends JobMessage {
  /** How long the handler ran, in ms; 0 for a job that failed because it lost its process too often. */
  ms: number
  error: Error
  /** True where no attempt is left: the job is a dead letter. */
  final: boolean
}

/** `fastify-scale:jobs:added` */
export const addedChannel: Channel<JobMessage> = createChannel('jobs', 'added')
/** `fastify-scale:jobs:started` */
export const startedChannel: Channel<StartedMessage> = createChannel('jobs', 'started')
/** `fastify-scale:jobs:completed` */
export const completedChannel: Channel<CompletedMessage> = createChannel('jobs', 'completed')
/** `fastify-scale:jobs:failed` */
export const failedChannel: Channel<FailedMessage> = createChannel('jobs', 'failed')
