interface Load<T> {
  /** When it began, by `performance.now()`; Infinity while it waits. */
  begunAt: number
  done: Promise<T>
}

/**
 * Loads that callers of one process share while Redis can't arbitrate. A load is good for whoever asked before it began:
 * who asks later may know of a change that another process made and Redis acknowledged, and gets the next load, which
 * begins when this one has ended. So each key has at most one load under way and one that waits, and a caller waits for
 * two at the most.
 */
export class Successive<T> {
  private readonly last: Map<string, Load<T>> = new Map()

  /**
   * The load of this key that is good for a caller, if there is one.
   *
   * @param asked when the caller asked, by `performance.now()`
   */
  joinable(key: string, asked: number): Promise<T> | undefined {
    const last = this.last.get(key)
    return last && asked < last.begunAt ? last.done : undefined
  }

  /** Adds a load, to be run when the one before has ended. `run` calls `begin` at the moment when it begins. */
  add(key: string, run: (begin: () => void) => Promise<T>): Promise<T> {
    const before = this.last.get(key)?.done
    const load: Load<T> = { begunAt: Number.POSITIVE_INFINITY, done: undefined as unknown as Promise<T> }
    const start = (): Promise<T> => run(() => (load.begunAt = performance.now()))
    this.last.set(key, load)
    load.done = (before ? before.then(start, start) : start()).finally(() => {
      if (this.last.get(key) === load) this.last.delete(key)
    })
    return load.done
  }
}
