import { BusyError, withRetryAfter } from './errors.ts'

export interface Slots {
  /** How many are taken. */
  readonly active: number
  /** How many uploads wait for one. */
  readonly waiting: number
  /**
   * Takes a slot, waiting for one at most the time allowed; the function that is returned gives it back, once.
   * @param maxWait ms, where not that of all
   * @throws SCALE_STORAGE_BUSY (503, Retry-After) when none came free; the signal's reason when it aborts
   */
  take(signal: AbortSignal, maxWait?: number): Promise<() => void>
}

/**
 * Bounds how many uploads a process takes at once, and with it its memory.
 *
 * @param max how many there are
 * @param usualWait how long an upload may wait for one, in ms; 0 refuses at once
 * @param onRefused called for each refusal
 */
export function createSlots(max: number, usualWait: number, onRefused?: (active: number) => void): Slots {
  let active = 0
  const queue = new Set<() => void>()

  function release(): void {
    // A waiting upload inherits the slot: the count stays.
    const [next] = queue
    if (next) next()
    else active--
  }
  function once(): () => void {
    let taken = true
    return () => {
      if (taken) release()
      taken = false
    }
  }
  function refuse(): Error {
    onRefused?.(active)
    return withRetryAfter(new BusyError('too many uploads at once, try again in a moment'), 1)
  }

  return {
    get active() {
      return active
    },
    get waiting() {
      return queue.size
    },
    async take(signal, maxWait = usualWait) {
      signal.throwIfAborted()
      if (active < max) {
        active++
        return once()
      }
      if (maxWait === 0) throw refuse()
      return new Promise<() => void>((resolve, reject) => {
        const settle = (act: () => void): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          queue.delete(onFree)
          act()
        }
        const onFree = (): void => settle(() => resolve(once()))
        const onAbort = (): void => settle(() => reject(signal.reason as Error))
        const timer = setTimeout(() => settle(() => reject(refuse())), maxWait)
        signal.addEventListener('abort', onAbort, { once: true })
        queue.add(onFree)
      })
    },
  }
}
