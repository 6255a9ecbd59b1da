import diagnostics from 'node:diagnostics_channel'

/** A named diagnostics channel with a known message type. */
export interface Channel<T> {
  readonly name: string
  /** Publishes what `message` returns; it is not called without a subscriber, so an idle channel costs one property read. */
  publish(message: () => T): void
  subscribe(listener: (message: T) => void): () => void
}

/**
 * Makes the channel `fastify-scale:<package>:<event>` of `node:diagnostics_channel`.
 */
export function createChannel<T>(packageName: string, event: string): Channel<T> {
  const name = `fastify-scale:${packageName}:${event}`
  const channel = diagnostics.channel(name)
  return {
    name,
    publish(message) {
      if (channel.hasSubscribers) channel.publish(message())
    },
    subscribe(listener) {
      const onMessage = (message: unknown): void => listener(message as T)
      diagnostics.subscribe(name, onMessage)
      return () => {
        diagnostics.unsubscribe(name, onMessage)
      }
    },
  }
}
