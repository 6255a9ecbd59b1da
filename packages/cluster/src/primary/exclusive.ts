/** Makes a queue of work that never overlaps: each begins when the one before has ended, however it ended. */
export function createExclusive(): <T>(work: () => T | Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const result = last.then(work, work)
    last = result.catch(() => undefined)
    return result
  }
}
