import { callListener } from '@fastify-scale/kit'
import { NotSerializableError } from './errors.ts'
import type { Peer } from './bus.ts'

export type BroadcastListener = (data: unknown) => unknown

/** Messages to every worker of one launcher, by topic. */
export interface Broadcasts {
  /**
   * Sends `data`, as JSON, to every worker of this launcher, this one included. All workers see all broadcasts in the same
   * order. A worker that is not up yet, or not any more, does not get it: what must not be missed belongs in Redis.
   * @throws SCALE_CLUSTER_NOT_SERIALIZABLE
   */
  broadcast(topic: string, data?: unknown): void
  /** Listens to a topic; returns the function that stops it. What a listener throws, or rejects with, is logged. */
  on(topic: string, listener: BroadcastListener): () => void
}

/** Wire form: the data is JSON text, made once by the sender and not parsed by the primary. */
interface Broadcast {
  topic: string
  json: string
}

/** The worker's side. */
export function createBroadcasts(peer: Peer, onError: (error: unknown, topic: string) => void): Broadcasts {
  const topics = new Map<string, Set<BroadcastListener>>()

  peer.onNote('broadcast', (message) => {
    if (!isBroadcast(message)) return
    const listeners = topics.get(message.topic)
    if (!listeners) return
    for (const listener of [...listeners]) {
      // Each listener has a copy of its own, as each worker has.
      callListener(
        () => listener(JSON.parse(message.json)),
        (error) => onError(error, message.topic),
      )
    }
  })

  return {
    broadcast(topic, data = null) {
      peer.note('broadcast', { topic, json: toJson(data, `broadcast('${topic}')`) } satisfies Broadcast)
    },
    on(topic, listener) {
      let listeners = topics.get(topic)
      if (!listeners) topics.set(topic, (listeners = new Set()))
      // Wrapped, so that the same function listening twice is two listeners.
      const own: BroadcastListener = (data) => listener(data)
      listeners.add(own)
      return () => {
        listeners.delete(own)
        if (listeners.size === 0 && topics.get(topic) === listeners) topics.delete(topic)
      }
    },
  }
}

/** The primary's side: passes broadcasts of each peer to all of them. */
export function relayBroadcasts(peer: Peer, everyone: () => Iterable<Peer>): void {
  peer.onNote('broadcast', (message) => {
    if (!isBroadcast(message)) return
    for (const other of everyone()) other.note('broadcast', message)
  })
}

/** @throws SCALE_CLUSTER_NOT_SERIALIZABLE naming `what` */
export function toJson(value: unknown, what: string): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new NotSerializableError(`${what}: the data can't be written as JSON: ${(error as Error).message}`)
  }
  if (json === undefined) throw new NotSerializableError(`${what}: the data can't be written as JSON: ${typeof value}`)
  return json
}

function isBroadcast(message: unknown): message is Broadcast {
  const { topic, json } = (message ?? {}) as Partial<Broadcast>
  return typeof topic === 'string' && typeof json === 'string'
}
