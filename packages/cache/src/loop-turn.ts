/** How long a look at the sockets counts as recent, in ms. */
const RECENT = 1

/**
 * Tells whether this process has looked at its sockets recently. What Redis has told us may lie unread in a socket
 * while JavaScript runs; memory that is kept honest by messages is therefore read only after a recent look.
 */
export class LoopTurn {
  private lookedAt = Number.NEGATIVE_INFINITY
  private next: Promise<void> | undefined

  /** True where the sockets were read at most 1 ms before `now` (`performance.now()`). */
  isRecent(now: number): boolean {
    return now - this.lookedAt < RECENT
  }

  /** Resolves after the event loop has read its sockets, later than this call. */
  wait(): Promise<void> {
    // Between two immediates lies one poll for I/O, and it begins after the first.
    this.next ??= new Promise((resolve) => {
      setImmediate(() => {
        this.next = undefined
        const before = performance.now()
        setImmediate(() => {
          this.lookedAt = before
          resolve()
        })
      })
    })
    return this.next
  }
}
