/** What waits for an answer. */
export interface Waiter {
  /** When its time is up, by `performance.now()`; set here. */
  at: number
  /** True once it was answered. */
  done: boolean
  /** Its time is up. */
  late(): void
}

/**
 * Deadlines of one length, cheap where nearly all are met: they run out in the order in which they were set, so one timer
 * does for all. An answer that lies in a socket when the time is up still counts: where this process was kept from
 * running, the time was not the server's.
 */
export class Deadlines {
  readonly ms: number
  private readonly waiters: (Waiter | undefined)[] = []
  /** What is before it was answered. */
  private first = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(ms: number) {
    this.ms = ms
  }

  /** Calls `late` of the waiter in `ms` milliseconds, unless it is done before. */
  add(waiter: Waiter): void {
    waiter.at = performance.now() + this.ms
    this.forget()
    this.waiters.push(waiter)
    this.timer ??= setTimeout(this.sweep, this.ms)
  }

  /** Settles like `promise`, or rejects with `late()` when the time is up. */
  guard<T>(promise: Promise<T>, late: () => Error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = { at: 0, done: false, late: () => reject(late()) }
      this.add(waiter)
      promise.then(resolve, reject).finally(() => (waiter.done = true))
    })
  }

  /** Lets go of what was answered: answers come in about the order of the questions, so nothing lives long here. */
  private forget(): void {
    const { waiters } = this
    while (this.first < waiters.length && waiters[this.first]?.done !== false) waiters[this.first++] = undefined
    if (this.first < 1_024) return
    waiters.splice(0, this.first)
    this.first = 0
  }

  private readonly sweep = (): void => {
    this.timer = undefined
    const now = performance.now()
    const late: Waiter[] = []
    const { waiters } = this
    for (this.forget(); this.first < waiters.length; this.forget()) {
      const waiter = waiters[this.first] as Waiter
      if (waiter.at > now) {
        this.timer = setTimeout(this.sweep, Math.max(1, waiter.at - now))
        break
      }
      waiters[this.first++] = undefined
      late.push(waiter)
    }
    // Between two immediates the sockets are read.
    if (late.length > 0) setImmediate(() => setImmediate(() => late.forEach((waiter) => waiter.done || waiter.late())))
  }
}
