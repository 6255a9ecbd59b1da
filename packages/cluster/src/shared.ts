import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { type Duration, callListener, parseDuration, withDeadline } from '@fastify-scale/kit'
import { ClusterOptionError, LoadFailedError, NameTakenError, NoAnswerError, NotLoadedError } from './errors.ts'
import type { Peer } from './bus.ts'
import { createLoads, type Loadable, MOST_REQUESTS } from './shared-load.ts'
import { isEnvelope, isNewer, type SharedEnvelope } from './shared-relay.ts'
import type { SharedFailure, SharedStore } from './shared-store.ts'
import type { SingletonContext, Singletons } from './singleton.ts'

export interface SharedOptions {
  /** From the start of one load to the start of the next; loads never overlap. */
  every: Duration
  /** Bound of one load, after which its signal aborts and it counts as failed. Default `'30s'`. */
  timeout?: Duration
}

/** Loads the value; what it returns travels as JSON. */
export type SharedLoader<T> = (context: SingletonContext) => T | Promise<T>

/** One value that one worker loads and all have. */
export interface Shared<T> {
  readonly name: string
  /**
   * The last value loaded, at once and without I/O.
   * @throws SCALE_CLUSTER_NOT_LOADED (503) before the first load; the worker is not ready before, so requests do not see it
   */
  readonly value: T
  /** True once there is a value. */
  readonly loaded: boolean
  /** When the value's load ended, in ms since 1970; `undefined` before the first. */
  readonly updatedAt: number | undefined
  /** Why the last load failed; `undefined` after a good one. The value before it stays. */
  readonly error: string | undefined
  /** Calls back with each new value; returns the function that stops it. What a listener throws, or rejects with, is logged. */
  onChange(listener: (value: T) => unknown): () => void
  /**
   * Has the value loaded now by whichever worker loads it; resolves when this worker has a value whose load began after
   * the call, also where another worker or machine takes over meanwhile.
   * @throws SCALE_CLUSTER_LOAD_FAILED where the load failed, or no worker has begun to load it for a second;
   * SCALE_CLUSTER_NO_ANSWER (503) after twice `timeout`, or where the worker that loads it ends
   */
  refresh(): Promise<T>
}

/** Within this, in ms, what one worker has left has begun in another. */
const MOVES_WITHIN = 1_000

export interface SharedValues {
  add<T>(name: string, options: SharedOptions, loader: SharedLoader<T>): Shared<T>
  /** Takes a value that came from elsewhere. */
  take(envelope: SharedEnvelope): void
  /** Takes notice of a load that failed elsewhere. */
  takeFailure(failure: SharedFailure): void
  /** Loads a value now where this worker is the one that loads it, or when it becomes that before anyone has. */
  loadNow(name: string, request: string): void
  /** Names that were added and have no value yet. */
  missing(): string[]
  start(store?: SharedStore): void
}

interface Entry extends Loadable {
  value?: unknown
  listeners: Set<(value: unknown) => unknown>
  /** Requests of this worker's own. */
  waiting: Map<string, { resolve(): void; reject(error: Error): void }>
}

export interface SharedValuesOptions {
  peer: Peer
  singletons: Singletons
  onError(error: unknown, name: string): void
  /** ms since 1970. */
  wallClock?: () => number
}

/** The worker's side of `shared`: a singleton of each name loads, and tells the primary, which tells all. */
export function createSharedValues(options: SharedValuesOptions): SharedValues {
  const { peer, singletons, onError, wallClock = Date.now } = options
  const entries = new Map<string, Entry>()
  /** The last value of each name that the app has not added yet: it may do so late, and the value comes only once. */
  const early = new Map<string, SharedEnvelope>()
  let store: SharedStore | undefined
  let started = false
  const serve = createLoads({ peer, store: () => store, take, onError, wallClock })

  function take(envelope: SharedEnvelope): void {
    const entry = entries.get(envelope.name)
    if (!entry) {
      if (isNewer(envelope, early.get(envelope.name))) early.set(envelope.name, envelope)
      return
    }
    keep(entry, envelope)
    for (const { resolve } of answered(entry, envelope.served)) resolve()
  }

  function takeFailure({ name, message, at, fencing, requests }: SharedFailure): void {
    const entry = entries.get(name)
    if (!entry) return
    if (isNewer({ at, fencing }, entry.envelope)) entry.error = message
    for (const { reject } of answered(entry, requests))
      reject(new LoadFailedError(`loading '${name}' on another machine failed: ${message}`))
  }

  /** Forgets requests that have their answer; gives those of this worker's own. */
  function answered(entry: Entry, requests: unknown = []): { resolve(): void; reject(error: Error): void }[] {
    if (!Array.isArray(requests)) return []
    entry.requested = entry.requested.filter((request) => !requests.includes(request))
    return requests.flatMap((request) => entry.waiting.get(request as string) ?? [])
  }

  function keep(entry: Entry, envelope: SharedEnvelope): void {
    if (!isNewer(envelope, entry.envelope)) return
    let value: unknown
    try {
      value = JSON.parse(envelope.json)
    } catch (error) {
      return onError(error, envelope.name)
    }
    entry.envelope = envelope
    entry.value = value
    entry.error = undefined
    for (const listener of [...entry.listeners])
      callListener(
        () => listener(value),
        (error) => onError(error, envelope.name),
      )
  }

  peer.onNote('shared.value', (data) => {
    if (isEnvelope(data)) take(data)
  })
  peer.onNote('shared.error', (data) => {
    const { name, message } = (data ?? {}) as { name?: unknown; message?: unknown }
    const entry = typeof name === 'string' ? entries.get(name) : undefined
    if (entry) entry.error = String(message)
  })
  // The primary sends this to the worker that loads.
  peer.onCall('shared.load', async (data) => {
    const { name } = (data ?? {}) as { name?: unknown }
    const entry = typeof name === 'string' ? entries.get(name) : undefined
    // It may have left another to load it by now; where machines share the value, one of another machine.
    if (!entry?.loadNow || !(await entry.loadNow())) return null
    return entry.envelope
  })

  /** Has another machine load, and waits for the value. */
  async function elsewhere(entry: Entry, { requestLoad }: SharedStore): Promise<void> {
    const request = randomUUID()
    const answer = new Promise<void>((resolve, reject) => entry.waiting.set(request, { resolve, reject }))
    const what = `loading '${entry.name}' on another machine`
    try {
      await withDeadline(Promise.all([requestLoad(entry.name, request), answer]), entry.timeout * 2, what)
    } catch (error) {
      if (error instanceof LoadFailedError) throw error
      throw new NoAnswerError(`no answer to ${what}: ${(error as Error).message}`)
    } finally {
      entry.waiting.delete(request)
    }
  }

  function begin(entry: Entry): void {
    peer.call('shared.get', { name: entry.name }).then(
      (data) => isEnvelope(data) && take(data),
      () => undefined,
    )
    singletons.add(`shared:${entry.name}`, (context) => serve(entry, context))
  }

  return {
    add<T>(name: string, sharedOptions: SharedOptions, loader: SharedLoader<T>): Shared<T> {
      if (entries.has(name)) throw new NameTakenError(`'${name}' is already a shared value of this worker`)
      const fail = (message: string): Error => new ClusterOptionError(message)
      const entry: Entry = {
        name,
        every: parseDuration(sharedOptions.every, { name: `shared('${name}').every`, fail }),
        timeout: parseDuration(sharedOptions.timeout ?? 30_000, { name: `shared('${name}').timeout`, fail }),
        loader,
        listeners: new Set(),
        requested: [],
        served: [],
        waiting: new Map(),
      }
      entries.set(name, entry)
      const known = early.get(name)
      early.delete(name)
      if (known) take(known)
      if (started) begin(entry)
      return {
        name,
        get value() {
          if (!entry.envelope)
            throw new NotLoadedError(`shared value '${name}' is not loaded yet${entry.error ? `: ${entry.error}` : ''}`)
          return entry.value as T
        },
        get loaded() {
          return entry.envelope !== undefined
        },
        get updatedAt() {
          return entry.envelope?.at
        },
        get error() {
          return entry.error
        },
        onChange(listener) {
          const own = (value: unknown): unknown => listener(value as T)
          entry.listeners.add(own)
          return () => entry.listeners.delete(own)
        },
        async refresh() {
          const until = performance.now() + MOVES_WITHIN
          for (;;) {
            const envelope = await peer.call('shared.refresh', { name }, entry.timeout * 2)
            if (isEnvelope(envelope)) take(envelope)
            else if (store) await elsewhere(entry, store)
            else if (performance.now() > until) throw new LoadFailedError(`no worker loads '${name}' now`)
            else {
              // One has left it, and the next is about to take it on.
              await setTimeout(20)
              continue
            }
            return entry.value as T
          }
        },
      }
    },
    take,
    takeFailure,
    loadNow(name, request) {
      const entry = entries.get(name)
      if (!entry) return
      entry.requested = [...entry.requested, request].slice(-MOST_REQUESTS)
      // A failure was reported where it happened.
      entry.loadNow?.().catch(() => undefined)
    },
    missing: () => [...entries.values()].filter((entry) => !entry.envelope).map((entry) => entry.name),
    start(given) {
      store = given
      started = true
      for (const entry of entries.values()) begin(entry)
    },
  }
}
