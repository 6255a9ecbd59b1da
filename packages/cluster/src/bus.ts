import { CallError, NoAnswerError } from './errors.ts'

/** One end of the channel between a worker and the primary. */
export interface Port {
  /** Sends a message; false where the other side is gone. Never throws. */
  send(message: object): boolean
  /** Listens to every message that comes in; returns the function that stops it. */
  listen(listener: (message: unknown) => void): () => void
}

/** Calls and notes over one port. What comes in is checked; anything else on the channel is left alone. */
export interface Peer {
  /** Tells the other side something; false where it is gone. */
  note(name: string, data?: unknown): boolean
  /**
   * Asks the other side. Rejects with the other side's error (its message and code), or with
   * `SCALE_CLUSTER_NO_ANSWER` (503) after `timeout` ms or when the other side is gone.
   */
  call(name: string, data?: unknown, timeout?: number): Promise<unknown>
  /** Handles notes of that name. */
  onNote(name: string, listener: (data: unknown) => void): void
  /** Answers calls of that name. */
  onCall(name: string, answer: (data: unknown) => unknown): void
  /** Stops listening; calls that wait are rejected. */
  close(): void
}

/** Messages of ours carry this, with the format's version. */
const MARK = 'fastify-scale.bus.1'
const DEFAULT_TIMEOUT = 5_000

interface Wire {
  bus: typeof MARK
  kind: 'note' | 'call' | 'answer'
  name: string
  id: number
  data?: unknown
  error?: { message: string; code?: string; statusCode?: number }
}

/** Makes the peer of one port. `onError` hears of listeners that threw. */
export function createPeer(port: Port, onError: (error: unknown, name: string) => void = () => undefined): Peer {
  const notes = new Map<string, (data: unknown) => void>()
  const calls = new Map<string, (data: unknown) => unknown>()
  const waiting = new Map<
    number,
    { resolve(value: unknown): void; reject(error: Error): void; timer: NodeJS.Timeout }
  >()
  let lastId = 0

  function send(wire: Omit<Wire, 'bus'>): boolean {
    return port.send({ bus: MARK, ...wire })
  }

  async function answer(wire: Wire): Promise<void> {
    const { name, id } = wire
    try {
      const handler = calls.get(name)
      if (!handler) throw new CallError(`the other side does not know '${name}'`)
      send({ kind: 'answer', name, id, data: await handler(wire.data) })
    } catch (error) {
      const { message, code, statusCode } = error as { message?: string; code?: string; statusCode?: number }
      send({ kind: 'answer', name, id, error: { message: message ?? String(error), code, statusCode } })
    }
  }

  function settle(wire: Wire): void {
    const call = waiting.get(wire.id)
    if (!call) return
    waiting.delete(wire.id)
    clearTimeout(call.timer)
    if (!wire.error) return call.resolve(wire.data)
    const error = new CallError(String(wire.error.message))
    if (typeof wire.error.code === 'string') error.code = wire.error.code
    if (typeof wire.error.statusCode === 'number') error.statusCode = wire.error.statusCode
    call.reject(error)
  }

  const stop = port.listen((message) => {
    if (!isWire(message)) return
    if (message.kind === 'call') void answer(message)
    else if (message.kind === 'answer') settle(message)
    else {
      try {
        notes.get(message.name)?.(message.data)
      } catch (error) {
        onError(error, message.name)
      }
    }
  })

  return {
    note: (name, data) => send({ kind: 'note', name, id: 0, data }),
    call(name, data, timeout = DEFAULT_TIMEOUT) {
      const id = ++lastId
      return new Promise((resolve, reject) => {
        const fail = (message: string): void => {
          waiting.delete(id)
          clearTimeout(timer)
          reject(new NoAnswerError(message))
        }
        const timer = setTimeout(() => fail(`no answer to '${name}' within ${timeout} ms`), timeout)
        waiting.set(id, { resolve, reject, timer })
        if (!send({ kind: 'call', name, id, data })) fail(`no answer to '${name}': the other side is gone`)
      })
    },
    onNote: (name, listener) => void notes.set(name, listener),
    onCall: (name, handler) => void calls.set(name, handler),
    close() {
      stop()
      for (const [id, call] of waiting) {
        clearTimeout(call.timer)
        waiting.delete(id)
        call.reject(new NoAnswerError('the channel was closed'))
      }
    },
  }
}

/** Two ports joined in one process, for an app that runs without the launcher. */
export function createPortPair(): [Port, Port] {
  const listeners: [Set<(message: unknown) => void>, Set<(message: unknown) => void>] = [new Set(), new Set()]
  const port = (own: 0 | 1): Port => ({
    send(message) {
      // Not in the same tick, as over a real channel, so that no caller comes to depend on it.
      queueMicrotask(() => {
        for (const listener of [...listeners[own === 0 ? 1 : 0]]) listener(message)
      })
      return true
    },
    listen(listener) {
      listeners[own].add(listener)
      return () => listeners[own].delete(listener)
    },
  })
  return [port(0), port(1)]
}

function isWire(message: unknown): message is Wire {
  if (typeof message !== 'object' || message === null) return false
  const wire = message as Partial<Wire>
  return (
    wire.bus === MARK &&
    typeof wire.name === 'string' &&
    typeof wire.id === 'number' &&
    (wire.kind === 'note' || wire.kind === 'call' || wire.kind === 'answer') &&
    (wire.error === undefined || (typeof wire.error === 'object' && wire.error !== null))
  )
}
