import { randomBytes } from 'node:crypto'
import { backoff, pause } from '@fastify-scale/kit'
import { ClosedError, PublishOverflowError, PublishTimeoutError } from './errors.ts'
import type { Known, Message, Stored } from './history-store.ts'
import type { RoomRule } from './room-options.ts'

interface Waiting {
  payload: string
  id: string
  keep: number
  /** On the monotonic clock, in ms. */
  deadline: number
  resolve: (stored: NonNullable<Stored>) => void
  reject: (error: Error) => void
}

export interface PublisherOptions {
  store: {
    publish(room: string, rule: RoomRule, messages: readonly Message[], known: Known | undefined): Promise<Stored[]>
  }
  /** Where this process is in a room, if it follows it. */
  known: (room: string) => Known | undefined
  /** How long each message is tried, in ms. */
  timeout: number
  /** Most messages that wait. */
  most: number
  now?: () => number
}

const BATCH = 100
const BATCH_BYTES = 512 * 1_024
const WAITING_BYTES = 64 * 1_024 * 1_024
/** The least time that a key of the user's is kept, in ms. */
const KEEP_MS = 60_000

/**
 * Publishes to history rooms: in the order of the calls, each once, however often Redis has to be asked. One script call
 * is under way for each room; what is published meanwhile goes together in the next, so order costs no throughput.
 */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #now: () => number
  readonly #queues = new Map<string, Waiting[]>()
  readonly #prefix = randomBytes(9).toString('base64url')
  readonly #stop = new AbortController()
  #count = 0
  #waiting = 0
  #bytes = 0

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** @param key the user's idempotency key */
  publish(room: string, rule: RoomRule, payload: string, key: string | undefined): Promise<NonNullable<Stored>> {
    const { timeout, most } = this.#options
    if (this.#stop.signal.aborted) return Promise.reject(new ClosedError('the server is closing'))
    if (this.#waiting >= most || this.#bytes + payload.length > WAITING_BYTES)
      return Promise.reject(
        new PublishOverflowError(
          `${this.#waiting} messages wait to be published already (option 'limits.pendingPublishes')`,
        ),
      )
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        payload,
        // Ours only serves to ask again, so it is kept no longer than that may happen.
        id: key === undefined ? `a:${this.#prefix}:${++this.#count}` : `u:${key}`,
        keep: key === undefined ? timeout * 2 + 10_000 : Math.max(KEEP_MS, rule.ttl),
        deadline: this.#now() + timeout,
        resolve,
        reject,
      }
      this.#waiting++
      this.#bytes += payload.length
      const queue = this.#queues.get(room)
      if (queue) {
        queue.push(waiting)
      } else {
        this.#queues.set(room, [waiting])
        void this.#drain(room, rule)
      }
    })
  }

  /** Rejects what waits. */
  close(): void {
    this.#stop.abort()
  }

  async #drain(room: string, rule: RoomRule): Promise<void> {
    const queue = this.#queues.get(room) as Waiting[]
    for (let attempt = 1, lastError: unknown; ; ) {
      this.#giveUp(queue, lastError)
      if (queue.length === 0) break
      const batch = takeBatch(queue)
      try {
        const now = this.#now()
        const messages = batch.map(({ payload, id, keep, deadline }) => ({ payload, id, keep, left: deadline - now }))
        const stored = await this.#options.store.publish(room, rule, messages, this.#options.known(room))
        queue.splice(0, batch.length)
        for (const [i, waiting] of batch.entries()) {
          this.#settle(waiting)
          const one = stored[i]
          if (one) waiting.resolve(one)
          else waiting.reject(this.#timeout(lastError))
        }
        attempt = 1
      } catch (error) {
        lastError = error
        // A confirmation that was lost: the ids make asking again harmless.
        await pause(backoff(attempt++), this.#stop.signal)
      }
    }
    this.#queues.delete(room)
  }

  /** Those whose time is over, in the order they came; all of them after close. */
  #giveUp(queue: Waiting[], lastError: unknown): void {
    const now = this.#now()
    const closed = this.#stop.signal.aborted
    while (queue[0] && (closed || queue[0].deadline <= now)) {
      const waiting = queue.shift() as Waiting
      this.#settle(waiting)
      waiting.reject(closed ? new ClosedError('the server is closing') : this.#timeout(lastError))
    }
  }

  #settle({ payload }: Waiting): void {
    this.#waiting--
    this.#bytes -= payload.length
  }

  #timeout(cause: unknown): Error {
    const reason = cause instanceof Error ? cause.message : 'no answer'
    return new PublishTimeoutError(
      `Redis did not confirm the message within ${this.#options.timeout} ms (${reason}); it may have been stored`,
    )
  }
}

function takeBatch(queue: Waiting[]): Waiting[] {
  let bytes = 0
  const end = queue.findIndex((one, i) => i === BATCH || (bytes += one.payload.length) > BATCH_BYTES)
  return queue.slice(0, end === -1 ? queue.length : Math.max(1, end))
}
