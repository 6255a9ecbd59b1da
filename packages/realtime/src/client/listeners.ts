/** Returns what takes the listener away again. */
export function add<T>(set: Set<T>, listener: T): () => void {
  set.add(listener)
  return () => void set.delete(listener)
}

/** One that throws is its author's to see, and stops nothing of what goes on here. */
export function call<Args extends unknown[]>(set: Set<(...args: Args) => void>, ...args: Args): void {
  for (const listener of set) {
    try {
      listener(...args)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}
