import { randomUUID } from 'node:crypto'
import { type Duration, parseDuration, pause, withDeadline } from '@fastify-scale/kit'
import { ClusterOptionError, LoadFailedError, NameTakenError, NotLoadedError } from './errors.ts'
import { toJson } from './broadcast.ts'
import type { Peer } from './bus.ts'
import { isEnvelope, isNewer, type SharedEnvelope } from './shared-relay.ts'
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
  /** Calls back with each new value; returns the function that stops it. */
  onChange(listener: (value: T) => void): () => void
  /**
   * Has the value loaded now by whichever worker loads it; resolves when this worker has a value whose load began after
   * the call. @throws SCALE_CLUSTER_LOAD_FAILED, SCALE_CLUSTER_NO_ANSWER
   */
  refresh(): Promise<T>
}

/** How many served requests a value tells of. */
const MOST_REQUESTS = 32

/** Where values go beyond this launcher; see shared-redis.ts. */
export interface SharedStore {
  /** Saves a value unless one with a higher fencing number is there; false then. */
  put(envelope: SharedEnvelope): Promise<boolean>
  /** Asks whichever machine loads the value to load it now. */
  requestLoad(name: string, request: string): Promise<void>
}

export interface SharedValues {
  add<T>(name: string, options: SharedOptions, loader: SharedLoader<T>): Shared<T>
  /** Takes a value that came from elsewhere. */
  take(envelope: SharedEnvelope): void
  /** Loads a value now where this worker is the one that loads it. */
  loadNow(name: string, request: string): void
  /** Names that were added and have no value yet. */
  missing(): string[]
  start(store?: SharedStore): void
}

interface Entry {
  name: string
  every: number
  timeout: number
  loader: SharedLoader<unknown>
  envelope?: SharedEnvelope
  value?: unknown
  error?: string
  listeners: Set<(value: unknown) => void>
  /** Requests of other machines that this worker will load for, and has loaded for. */
  requested: string[]
  served: string[]
  /** Calls back when a request of this worker's own was served. */
  waiting: Map<string, () => void>
  /** Set while this worker is the one that loads. */
  loadNow?: () => Promise<void>
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
  let store: SharedStore | undefined
  let started = false

  function take(envelope: SharedEnvelope): void {
    const entry = entries.get(envelope.name)
    if (!entry) return
    keep(entry, envelope)
    if (!Array.isArray(envelope.served)) return
    for (const request of envelope.served) entry.waiting.get(request)?.()
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
    for (const listener of [...entry.listeners]) {
      try {
        listener(value)
      } catch (error) {
        onError(error, envelope.name)
      }
    }
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
    // Where machines share the value it may be another one that loads it.
    if (!entry?.loadNow) return null
    await entry.loadNow()
    return entry.envelope
  })

  async function load(entry: Entry, context: SingletonContext): Promise<void> {
    const { name, timeout } = entry
    const served = entry.requested.splice(0)
    const bound = new AbortController()
    const signal = AbortSignal.any([context.signal, bound.signal])
    try {
      const work = Promise.resolve().then(() => entry.loader({ signal, fencing: context.fencing }))
      const json = toJson(await withDeadline(work, timeout, `loading '${name}'`), `shared('${name}')`)
      // What a worker loaded that is not the one any more is thrown away.
      if (context.signal.aborted) return
      // Each value's time is above the one's before it, also where the wall clock is set back.
      const at = Math.max(wallClock(), (entry.envelope?.at ?? 0) + 1)
      // Others may see only a later value: it tells whom the ones before it served.
      entry.served = [...entry.served, ...served].slice(-MOST_REQUESTS)
      const envelope = { name, json, at, fencing: context.fencing, served: entry.served }
      if (store && !(await store.put(envelope))) return
      take(envelope)
      peer.note('shared.value', envelope)
    } catch (error) {
      if (context.signal.aborted) return
      const message = error instanceof Error ? error.message : String(error)
      entry.error = message
      peer.note('shared.error', { name, message })
      onError(error, name)
      throw new LoadFailedError(`loading '${name}' failed: ${message}`)
    } finally {
      bound.abort()
    }
  }

  /** Loads for ever, while this worker is the one. */
  async function serve(entry: Entry, context: SingletonContext): Promise<void> {
    const { signal } = context
    let due = 0
    if (entry.envelope) {
      // The worker before us loaded it so long ago; clocks of other machines may be off, so never wait longer than once.
      const age = Math.min(entry.every, Math.max(0, wallClock() - entry.envelope.at))
      due = performance.now() + entry.every - age
    }
    let current: Promise<void> | undefined
    const run = (): Promise<void> => {
      due = performance.now() + entry.every
      current = load(entry, context).finally(() => (current = undefined))
      return current
    }
    // A load that has begun may have read old data already: a refresh waits for it and loads anew, once for all who ask.
    let next: Promise<void> | undefined
    entry.loadNow = () =>
      (next ??= (current ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => {
          next = undefined
          return current ?? run()
        }))
    try {
      while (!signal.aborted) {
        const wait = due - performance.now()
        if (wait > 0) await pause(Math.min(wait, 2 ** 31 - 1), signal)
        else await (current ?? run()).catch(() => undefined)
      }
    } finally {
      entry.loadNow = undefined
    }
  }

  /** Has another machine load, and waits for the value. */
  async function elsewhere(entry: Entry, { requestLoad }: SharedStore): Promise<void> {
    const request = randomUUID()
    const served = new Promise<void>((resolve) => entry.waiting.set(request, resolve))
    try {
      await requestLoad(entry.name, request)
      await withDeadline(served, entry.timeout * 2, `loading '${entry.name}' on another machine`)
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
          const own = (value: unknown): void => listener(value as T)
          entry.listeners.add(own)
          return () => entry.listeners.delete(own)
        },
        async refresh() {
          const envelope = await peer.call('shared.refresh', { name }, entry.timeout * 2)
          if (isEnvelope(envelope)) take(envelope)
          else if (store) await elsewhere(entry, store)
          else throw new LoadFailedError(`no worker loads '${name}' now`)
          return entry.value as T
        },
      }
    },
    take,
    loadNow(name, request) {
      const entry = entries.get(name)
      if (!entry?.loadNow) return
      entry.requested.push(request)
      // A failure was reported where it happened.
      entry.loadNow().catch(() => undefined)
    },
    missing: () => [...entries.values()].filter((entry) => !entry.envelope).map((entry) => entry.name),
    start(given) {
      store = given
      started = true
      for (const entry of entries.values()) begin(entry)
    },
  }
}
