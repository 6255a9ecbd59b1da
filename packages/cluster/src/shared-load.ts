import { pause, withDeadline } from '@fastify-scale/kit'
import { toJson } from './broadcast.ts'
import type { Peer } from './bus.ts'
import { LoadFailedError } from './errors.ts'
import type { SharedEnvelope } from './shared-relay.ts'
import type { SharedStore } from './shared-store.ts'
import type { SingletonContext } from './singleton.ts'

/** How many requests a value tells of, and a worker keeps. */
export const MOST_REQUESTS = 32

/** What loading needs to know of a value. */
export interface Loadable {
  name: string
  every: number
  timeout: number
  loader(context: SingletonContext): unknown
  envelope?: SharedEnvelope
  error?: string
  /** Requests of other machines that nobody has answered yet, and those that this worker has loaded for. */
  requested: string[]
  served: string[]
  /** Set while this worker is the one that loads. Resolves with false where another one is by then. */
  loadNow?: () => Promise<boolean>
}

export interface LoadsOptions {
  peer: Peer
  store(): SharedStore | undefined
  take(envelope: SharedEnvelope): void
  onError(error: unknown, name: string): void
  /** ms since 1970. */
  wallClock: () => number
}

/** The side of the worker that loads: gives the function that loads one value for ever, while this worker is the one. */
export function createLoads(options: LoadsOptions): (entry: Loadable, context: SingletonContext) => Promise<void> {
  const { peer, take, onError, wallClock } = options

  /** False where this worker is not the one any more: what it loaded is thrown away. */
  async function load(entry: Loadable, context: SingletonContext): Promise<boolean> {
    const { name, timeout } = entry
    const { fencing } = context
    const store = options.store()
    const requests = entry.requested.splice(0)
    const bound = new AbortController()
    const signal = AbortSignal.any([context.signal, bound.signal])
    // Each value's time is above the one's before it, also where the wall clock is set back.
    const now = (): number => Math.max(wallClock(), (entry.envelope?.at ?? 0) + 1)
    const moved = (): false => {
      entry.requested.unshift(...requests)
      return false
    }
    try {
      const work = Promise.resolve().then(() => entry.loader({ signal, fencing }))
      const json = toJson(await withDeadline(work, timeout, `loading '${name}'`), `shared('${name}')`)
      if (context.signal.aborted) return moved()
      // Others may see only a later value: it tells whom the ones before it served.
      const served = [...entry.served, ...requests].slice(-MOST_REQUESTS)
      const envelope = { name, json, at: now(), fencing, served }
      if (store && !(await store.put(envelope))) return moved()
      entry.served = served
      take(envelope)
      peer.note('shared.value', envelope)
      return true
    } catch (error) {
      if (context.signal.aborted) return moved()
      const message = error instanceof Error ? error.message : String(error)
      entry.error = message
      peer.note('shared.error', { name, message })
      onError(error, name)
      // Where it does not get through, those who wait have no answer.
      store?.tellFailure({ name, message, at: now(), fencing, requests }).catch(() => undefined)
      throw new LoadFailedError(`loading '${name}' failed: ${message}`)
    } finally {
      bound.abort()
    }
  }

  return async function serve(entry, context) {
    const { signal } = context
    let due = 0
    // Nobody has loaded for requests that came when no worker was the one.
    if (entry.envelope && entry.requested.length === 0) {
      // The worker before us loaded it so long ago; clocks of other machines may be off, so never wait longer than once.
      const age = Math.min(entry.every, Math.max(0, wallClock() - entry.envelope.at))
      due = performance.now() + entry.every - age
    }
    let current: Promise<boolean> | undefined
    const run = (): Promise<boolean> => {
      due = performance.now() + entry.every
      current = load(entry, context).finally(() => (current = undefined))
      return current
    }
    // A load that has begun may have read old data already: a refresh waits for it and loads anew, once for all who ask.
    let next: Promise<boolean> | undefined
    entry.loadNow = () =>
      (next ??= (current ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => {
          next = undefined
          return signal.aborted ? false : (current ?? run())
        }))
    try {
      while (!signal.aborted) {
        const wait = due - performance.now()
        if (wait > 0) await pause(Math.min(wait, 2 ** 31 - 1), signal)
        else await (current ?? run()).catch(() => undefined)
      }
    } finally {
      entry.loadNow = undefined
      // The next worker begins when this one has ended.
      await current?.catch(() => undefined)
    }
  }
}
