/**
 * Part buffers of all uploads of a process, used again and again, and never more than `max` of them: that bounds its memory.
 */
export interface BufferPool {
  /** True while less than half are in use: then an upload may hold more than its share, and go faster. */
  readonly roomy: boolean
  /** Takes a buffer, waiting for one where all are in use. Rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<Buffer>
  /** Gives back a buffer that nothing reads any more. */
  give(buffer: Buffer): void
  /** Gives up a buffer that a socket may still read: it is left to the collector. */
  drop(): void
  /** Lets go of what lies about unused. */
  trim(): void
}

/**
 * @param size bytes of each
 * @param max at least as many as all uploads together are entitled to
 */
export function createBufferPool(size: number, max: number): BufferPool {
  let free: Buffer[] = []
  let used = 0
  const waiting = new Set<() => void>()

  function wakeNext(): void {
    const [next] = waiting
    next?.()
  }
  function release(): void {
    used--
    wakeNext()
  }

  return {
    get roomy() {
      return used < max / 2
    },
    async take(signal) {
      while (used >= max) {
        signal.throwIfAborted()
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            waiting.delete(wake)
            signal.removeEventListener('abort', wake)
            resolve()
          }
          waiting.add(wake)
          signal.addEventListener('abort', wake, { once: true })
        })
      }
      if (signal.aborted) {
        // Woken for nothing: the next in line is to have it.
        wakeNext()
        throw signal.reason
      }
      used++
      return free.pop() ?? Buffer.allocUnsafeSlow(size)
    },
    give(buffer) {
      free.push(buffer)
      release()
    },
    drop: release,
    trim() {
      free = []
    },
  }
}
