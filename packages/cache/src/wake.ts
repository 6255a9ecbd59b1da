/** Those who wait for another's fill, by key: woken when Redis tells of it, or by a jittered timer. */
export class Wakes {
  private readonly waiting: Map<string, { promise: Promise<void>; wake: () => void }> = new Map()
  private readonly random: () => number

  constructor(random: () => number = Math.random) {
    this.random = random
  }

  /** Resolves when the key changed, at the latest after about `ms` milliseconds. */
  wait(key: string, ms: number): Promise<void> {
    let one = this.waiting.get(key)
    if (!one) {
      let wake!: () => void
      const promise = new Promise<void>((resolve) => {
        const timer = setTimeout(() => wake(), ms * (0.75 + 0.5 * this.random()))
        wake = () => {
          clearTimeout(timer)
          this.waiting.delete(key)
          resolve()
        }
      })
      this.waiting.set(key, (one = { promise, wake }))
    }
    return one.promise
  }

  wake(key: string): void {
    this.waiting.get(key)?.wake()
  }

  wakeAll(): void {
    for (const one of this.waiting.values()) one.wake()
  }
}
