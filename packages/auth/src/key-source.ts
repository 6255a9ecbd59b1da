import { oneLine } from '@fastify-scale/kit'
import type { KeySet } from './key-set.ts'

/** Where the keys come from, and the newest of them. */
export interface KeySource {
  /** The keys of this moment; another object after each change. */
  current(): KeySet
  /** A token named a key that is not there: loads again in the background, at most once per `throttle`. */
  onUnknownKid(): void
  /** True when keys were loaded at least once. */
  readonly loaded: boolean
  /** Why the last attempt to load failed; undefined where it did not. */
  readonly failure: string | undefined
  close(): void
}

/** Keys that never change while the process runs. */
export function fixedKeys(keys: KeySet): KeySource {
  return { current: () => keys, onUnknownKid() {}, loaded: true, failure: undefined, close() {} }
}

export interface LoadedKeysOptions {
  /** Loads the keys; returns undefined where they are still the same. */
  load: () => Promise<KeySet | undefined>
  /** ms between two loads. */
  interval: number
  /** ms between two loads for tokens of unknown keys, and after a failure. */
  throttle: number
  onLoad: (keys: KeySet) => void
  onFailure: (reason: string) => void
}

/** No key: until the first load every token is of an unknown key. */
const NONE: KeySet = {
  find: () => undefined,
  active: () => undefined,
  publicJwks: () => ({ keys: [] }),
  size: 0,
  only: undefined,
}

export interface LoadedKeySource extends KeySource {
  /** Loads now. Rejects with the reason where it can't; the keys that were there stay. */
  reload(): Promise<void>
}

/** Keys from a file, a function or a URL, loaded again and again; a load that fails leaves the keys as they are. */
export function loadedKeys(options: LoadedKeysOptions): LoadedKeySource {
  const { interval, throttle } = options
  let keys = NONE
  let failure: string | undefined
  let startedAt = Number.NEGATIVE_INFINITY
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function load(): Promise<void> {
    startedAt = performance.now()
    try {
      const next = await options.load()
      failure = undefined
      if (!next || closed) return
      keys = next
      options.onLoad(next)
    } catch (error) {
      failure = oneLine(error)
      options.onFailure(failure)
      throw error
    } finally {
      schedule()
    }
  }

  function schedule(): void {
    clearTimeout(timer)
    if (closed) return
    // Spread, so that many processes do not ask in step.
    const wait = (failure === undefined ? interval : Math.min(interval, throttle)) * (0.9 + Math.random() * 0.2)
    timer = setTimeout(inBackground, wait)
    timer.unref()
  }

  function inBackground(): void {
    // The failure was told by then.
    reload().catch(() => undefined)
  }

  function reload(): Promise<void> {
    return (running ??= load().finally(() => (running = undefined)))
  }

  return {
    current: () => keys,
    onUnknownKid() {
      if (!closed && performance.now() - startedAt >= throttle) inBackground()
    },
    get loaded() {
      return keys !== NONE
    },
    get failure() {
      return failure
    },
    reload,
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}
