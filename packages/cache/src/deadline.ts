/**
 * Settles like `promise`, or rejects with `late()` after `ms` milliseconds. An answer that lies in a socket by then
 * still counts: where this process was kept from running, the time was not the server's.
 */
export function withinDeadline<T>(promise: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      // Between two immediates the sockets are read.
      setImmediate(() => setImmediate(() => reject(late())))
    }, ms)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
