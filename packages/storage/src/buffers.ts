/**
 * Part buffers of all uploads of a process, used again and again, and never more than `max` of them: that bounds its memory.
 */
export interface BufferPool {
  /** True while less than half are in use: then an upload may hold more than its share, and go faster. */
  readonly roomy: boolean
  /** How many lie ready for the next upload. */
  readonly unused: number
  /** Takes a buffer, waiting for one where all are in use. Rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<Buffer>
  /** Gives back a buffer that nothing reads any more. */
  give(buffer: Buffer): void
  /** Gives up a buffer that a socket may still read: it is left to the collector. */
  drop(): void
  /** Lets go of all that are unused, and keeps none any more. */
  close(): void
}

/**
 * Buffers that nobody needed for `keep` ms are let go of. Not sooner: new ones
 * bring the collector's next run nearer, which took up to a third of an upload's CPU where each brought its own.
 *
 * @param size bytes of each
 * @param max at least as many as all uploads together are entitled to
 * @param keep ms
 */
export function createBufferPool(size: number, max: number, keep: number): BufferPool {
  const free: Buffer[] = []
  let used = 0
  /** How many of the free ones were not needed since the last look. */
  let unneeded = 0
  let looking: NodeJS.Timeout | undefined
  let closed = false
  const waiting = new Set<() => void>()

  function wakeNext(): void {
    const [next] = waiting
    next?.()
  }
  function release(): void {
    used--
    wakeNext()
  }

  function look(): void {
    // The longest unused lie in front.
    free.splice(0, unneeded)
    unneeded = free.length
    if (unneeded === 0) stopLooking()
  }
  function stopLooking(): void {
    clearInterval(looking)
    looking = undefined
  }

  return {
    get roomy() {
      return used < max / 2
    },
    get unused() {
      return free.length
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
      const buffer = free.pop() ?? Buffer.allocUnsafeSlow(size)
      unneeded = Math.min(unneeded, free.length)
      return buffer
    },
    give(buffer) {
      if (!closed) {
        free.push(buffer)
        looking ??= setInterval(look, keep).unref()
      }
      release()
    },
    drop: release,
    close() {
      closed = true
      free.length = 0
      stopLooking()
    },
  }
}
