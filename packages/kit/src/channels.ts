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
  const { names, listeners } = registry()
  if (!names.has(name)) {
    names.add(name)
    for (const listener of [...listeners]) listener(name)
  }
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

/**
 * Calls back with the name of every channel that `createChannel` made, in this copy of kit or another, and of each that it
 * will make: `node:diagnostics_channel` itself can't list its channels. Returns the function that stops it.
 */
export function onChannel(listener: (name: string) => void): () => void {
  const { names, listeners } = registry()
  const own = (name: string): void => listener(name)
  for (const name of [...names]) own(name)
  listeners.add(own)
  return () => {
    listeners.delete(own)
  }
}

interface Registry {
  names: Set<string>
  listeners: Set<(name: string) => void>
}

function registry(): Registry {
  const key = Symbol.for('fastify-scale.channels')
  const holder = globalThis as Record<symbol, Registry | undefined>
  return (holder[key] ??= { names: new Set(), listeners: new Set() })
}
