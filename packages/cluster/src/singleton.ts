import { backoff, pause } from '@fastify-scale/kit'
import { NameTakenError } from './errors.ts'
import type { Peer } from './bus.ts'

/** What the function of a singleton is given. */
export interface SingletonContext {
  /**
   * Aborts when this worker must stop: it drains, closes, or its lease is about to run out. The next worker is not
   * started before this one's function has ended or its process is gone (with `redis`: or the lease has run out).
   */
  signal: AbortSignal
  /**
   * Higher at each start, over all workers (with `redis`: over all machines). Store it with what you write and refuse
   * writes with a lower one, and not even a process that was stopped in mid-write can do harm.
   */
  fencing: number
}

export type SingletonFunction = (context: SingletonContext) => unknown

/** One name that runs in exactly one worker. */
export interface Singleton {
  readonly name: string
  /** True while it runs in this worker. */
  readonly running: boolean
  /** Stops it in this worker, which does not take part any more; resolves when the function has ended. */
  stop(): Promise<void>
}

/** A lease that spans machines; see lease.ts. */
export interface Leases {
  /**
   * Waits for the lease and holds it while `use` runs; the signal given to `use` aborts ahead of the lease's end.
   * Returns when `signal` is aborted and `use` has ended. Rejects with what `use` rejects with.
   */
  hold(name: string, signal: AbortSignal, use: (context: SingletonContext) => Promise<void>): Promise<void>
}

export interface Singletons {
  /** `local`: one in each launcher, also where leases are shared. */
  add(name: string, run: SingletonFunction, local?: boolean): Singleton
  /** Begins to ask for the places; until then nothing runs. `leases`, where machines share them. */
  start(leases?: Leases): void
  /** Stops all. Resolves when every function has ended. */
  stop(): Promise<void>
  /** The names that run in this worker now. */
  running(): string[]
}

interface Entry {
  name: string
  run: SingletonFunction
  local: boolean
  stopped: AbortController
  /** While this worker has the place. */
  tenure?: Promise<void>
  running: boolean
  failures: number
  /** Of the last time that the place was asked for: a grant for an earlier one has been given back already. */
  ticket: number
}

export interface SingletonsOptions {
  peer: Peer
  /** A function threw or rejected; it starts again, here or elsewhere, after a back-off of up to 30 s. */
  onError(error: unknown, name: string): void
  random?: () => number
}

/** The worker's side of `singleton`. */
export function createSingletons({ peer, onError, random }: SingletonsOptions): Singletons {
  const entries = new Map<string, Entry>()
  let started = false
  let stopped = false
  let leases: Leases | undefined
  let lastTicket = 0

  const want = (entry: Entry): void => {
    // A worker that drains takes nothing on any more.
    if (!started || stopped || entry.stopped.signal.aborted) return
    entry.ticket = ++lastTicket
    peer.note('singleton.want', { name: entry.name, ticket: entry.ticket })
  }
  const leave = ({ name, ticket }: Entry): void => void peer.note('singleton.leave', { name, ticket })

  peer.onNote('singleton.grant', (data) => {
    const { name, ticket, fencing } = (data ?? {}) as { name?: unknown; ticket?: unknown; fencing?: unknown }
    if (typeof name !== 'string' || typeof fencing !== 'number') return
    const entry = entries.get(name)
    // Whoever is not asking any more has already said so, after the asking that this answers.
    if (!entry || entry.ticket !== ticket || entry.tenure || entry.stopped.signal.aborted) return
    entry.tenure = serve(entry, fencing)
  })

  async function serve(entry: Entry, fencing: number): Promise<void> {
    const { name, stopped } = entry
    let failed = false
    try {
      if (leases && !entry.local) await leases.hold(name, stopped.signal, (context) => run(entry, context))
      else await run(entry, { signal: stopped.signal, fencing })
    } catch (error) {
      failed = true
      entry.failures++
      onError(error, name)
    }
    entry.tenure = undefined
    leave(entry)
    if (failed) await pause(backoff(entry.failures, 500, 30_000, random), stopped.signal)
    want(entry)
  }

  /** Runs the function and keeps the place until the signal, also where the function only set something up and returned. */
  async function run(entry: Entry, context: SingletonContext): Promise<void> {
    if (context.signal.aborted) return
    entry.running = true
    try {
      await entry.run(context)
      entry.failures = 0
      await aborted(context.signal)
    } catch (error) {
      // Functions reject with the signal's reason when they are stopped: that is no failure.
      if (!context.signal.aborted) throw error
    } finally {
      entry.running = false
    }
  }

  async function stopEntry(entry: Entry): Promise<void> {
    entry.stopped.abort()
    if (entries.get(entry.name) === entry) entries.delete(entry.name)
    if (entry.tenure) await entry.tenure
    else leave(entry)
  }

  return {
    add(name, run, local = false) {
      if (entries.has(name)) throw new NameTakenError(`'${name}' already runs as a singleton of this worker`)
      const entry: Entry = { name, run, local, stopped: new AbortController(), running: false, failures: 0, ticket: 0 }
      entries.set(name, entry)
      want(entry)
      return {
        name,
        get running() {
          return entry.running
        },
        stop: () => stopEntry(entry),
      }
    },
    start(shared) {
      leases = shared
      started = true
      for (const entry of entries.values()) want(entry)
    },
    async stop() {
      stopped = true
      await Promise.all([...entries.values()].map(stopEntry))
    },
    running: () => [...entries.values()].filter((entry) => entry.running).map((entry) => entry.name),
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
