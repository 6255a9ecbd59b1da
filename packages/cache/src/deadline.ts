interface Waiter {
  at: number
  late: (() => void) | undefined
}

/**
 * Deadlines of one length, cheap where nearly all are met: they run out in the order in which they were set, so one timer
 * does for all. An answer that lies in a socket when the time is up still counts: where this process was kept from
 * running, the time was not the server's.
 */
export class Deadlines {
  readonly ms: number
  private waiters: Waiter[] = []
  private first = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(ms: number) {
    this.ms = ms
  }

  /** Calls `late` in `ms` milliseconds, unless `late` of what is returned is unset before. */
  add(late: () => void): Waiter {
    const waiter: Waiter = { at: performance.now() + this.ms, late }
    this.waiters.push(waiter)
    this.timer ??= setTimeout(this.sweep, this.ms)
    return waiter
  }

  /** Settles like `promise`, or rejects with `late()` when the time is up. */
  guard<T>(promise: Promise<T>, late: () => Error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiter = this.add(() => reject(late()))
      promise.then(resolve, reject).finally(() => (waiter.late = undefined))
    })
  }

  private readonly sweep = (): void => {
    this.timer = undefined
    const now = performance.now()
    const late: Waiter[] = []
    const { waiters } = this
    while (this.first < waiters.length) {
      const waiter = waiters[this.first] as Waiter
      if (waiter.late !== undefined) {
        if (waiter.at > now) break
        late.push(waiter)
      }
      this.first++
    }
    if (this.first > 0) {
      waiters.splice(0, this.first)
      this.first = 0
    }
    const next = waiters[0]
    if (next) this.timer = setTimeout(this.sweep, Math.max(1, next.at - now))
    // Between two immediates the sockets are read.
    if (late.length > 0) setImmediate(() => setImmediate(() => late.forEach((waiter) => waiter.late?.())))
  }
}
