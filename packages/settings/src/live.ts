import { callListener } from '@fastify-scale/kit'
import type { Definition, Definitions } from './schema.ts'
import type { Stored, StoredChange } from './store.ts'

/** What one change means to this process; values are parsed and frozen. */
export interface LiveChange {
  readonly key: string
  readonly value: unknown
  readonly previous: unknown
  readonly version: number
  readonly at: number
  readonly by: string | undefined
  readonly reset: boolean
}

export type LiveListener = (value: unknown, previous: unknown, change: LiveChange) => void

export interface LiveOptions {
  definitions: Definitions
  /** A value in Redis that this process's schema refuses, or a key that it does not know (of another release). */
  onRejected: (key: string, error: Error) => void
  /** What a listener threw. */
  onListenerError: (key: string, error: unknown) => void
  onChanged: (change: LiveChange) => void
}

/** The copy of all settings in this process. */
export interface Live {
  /** Current values by name; a property access is all that a read costs. */
  readonly values: Readonly<Record<string, unknown>>
  version(key: string): number
  /** The version in Redis whose value this process's schema refused, where that is the last one that it knows of. */
  refused(key: string): number | undefined
  /** Takes over one change, unless it is known already. */
  apply(change: StoredChange): void
  /** Takes over everything that Redis has; what it does not have is at its default. */
  replace(values: ReadonlyMap<string, Stored>): void
  listen(key: string, listener: LiveListener): () => void
  /** Resolves when this process has that version or a later one, or the signal aborts. */
  reached(key: string, version: number, signal: AbortSignal): Promise<void>
  /** A stored change in this process's terms. */
  toLive(change: StoredChange): LiveChange
}

export function createLive(options: LiveOptions): Live {
  const { definitions, onRejected } = options
  const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  const versions = new Map<string, number>()
  const refused = new Map<string, number>()
  const listeners = new Map<string, Set<LiveListener>>()
  const waiting = new Set<() => void>()
  for (const { key, default: value } of Object.values(definitions)) {
    values[key] = value
    versions.set(key, 0)
  }

  function parse(definition: Definition, json: string): unknown {
    return json === '' ? definition.default : definition.parse(json)
  }

  function take(definition: Definition, stored: Stored, at: number, by: string | undefined): void {
    const { key } = definition
    const { version, json } = stored
    let value: unknown
    try {
      value = parse(definition, json)
    } catch (error) {
      refused.set(key, version)
      onRejected(key, error as Error)
      return
    }
    refused.delete(key)
    const previous = values[key]
    values[key] = value
    versions.set(key, version)
    const change: LiveChange = Object.freeze({ key, value, previous, version, at, by, reset: json === '' })
    options.onChanged(change)
    const set = listeners.get(key)
    for (const listener of Array.from(set ?? [])) {
      // One that was called before may have stopped it.
      if (!set?.has(listener)) continue
      callListener(
        () => listener(value, previous, change),
        (error) => options.onListenerError(key, error),
      )
    }
  }

  function wake(): void {
    for (const look of Array.from(waiting)) look()
  }

  const versionOf = (key: string): number => versions.get(key) ?? 0

  return {
    values,
    version: versionOf,
    refused: (key) => refused.get(key),
    apply(stored) {
      const definition = definitions[stored.key]
      if (!definition) onRejected(stored.key, new Error(`there is no setting '${stored.key}' in this release`))
      else if (stored.version > versionOf(stored.key)) take(definition, stored, stored.at, stored.by)
      wake()
    },
    replace(stored) {
      for (const definition of Object.values(definitions)) {
        const { key } = definition
        const now = stored.get(key) ?? { version: 0, json: '' }
        // A version is the time of the change, or just after it.
        if (now.version !== versionOf(key)) take(definition, now, now.version, undefined)
        else refused.delete(key)
      }
      wake()
    },
    listen(key, listener) {
      const set = listeners.get(key) ?? new Set()
      listeners.set(key, set)
      // One function may listen twice, and each is stopped by itself.
      const own: LiveListener = (...args) => listener(...args)
      set.add(own)
      return () => set.delete(own)
    },
    reached(key, version, signal) {
      return new Promise((resolve) => {
        const look = (): void => {
          if (versionOf(key) < version && !signal.aborted) return
          waiting.delete(look)
          signal.removeEventListener('abort', look)
          resolve()
        }
        waiting.add(look)
        signal.addEventListener('abort', look)
        look()
      })
    },
    toLive({ key, json, previous, version, at, by }) {
      const definition = definitions[key] as Definition
      const read = (text: string): unknown => {
        try {
          return parse(definition, text)
        } catch {
          return asItIs(text)
        }
      }
      return Object.freeze({ key, value: read(json), previous: read(previous), version, at, by, reset: json === '' })
    },
  }
}

/** What this release refuses, for the history: of another release, or not even JSON. */
function asItIs(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
