import { EventEmitter } from 'node:events'

/** An emitter whose listeners can't hurt who emits, nor each other: what they throw goes to `onError`. */
export function createSafeEmitter<T extends Record<keyof T, unknown[]>>(
  onError: (error: unknown, event: string) => void,
): EventEmitter<T> {
  const emitter = new EventEmitter()
  emitter.setMaxListeners(0)
  emitter.emit = (event, ...args) => {
    const listeners = emitter.rawListeners(event)
    for (const listener of listeners) {
      try {
        listener.apply(emitter, args)
      } catch (error) {
        onError(error, String(event))
      }
    }
    return listeners.length > 0
  }
  return emitter as unknown as EventEmitter<T>
}
