/** What the watchdog needs to know of a worker. */
export interface Watched {
  state: string
  /** Monotonic time in ms at which it was last heard of. */
  heardAt: number
}

/**
 * Finds workers whose event loop does not answer. Each look compares the clock with the look before: where this process
 * itself was stopped (a suspended machine, a debugger), nobody could be heard, and everybody starts anew.
 */
export function createWatchdog<T extends Watched>(
  hangTimeout: number,
  workers: () => T[],
  onHang: (worker: T, silent: number) => void,
  now: () => number = () => performance.now(),
): { interval: number; look(): void } {
  const interval = Math.max(50, Math.min(1_000, hangTimeout / 4))
  let last = now()
  return {
    interval,
    look() {
      const time = now()
      const stalled = time - last > interval + hangTimeout / 2
      last = time
      for (const worker of workers()) {
        if (stalled) worker.heardAt = time
        else if (worker.state === 'ready' && time - worker.heardAt > hangTimeout) {
          onHang(worker, Math.round(time - worker.heardAt))
        }
      }
    },
  }
}
