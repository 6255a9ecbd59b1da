/** Part buffers that are used again and again: what an upload needs is allocated once, not once per part. */
export interface BufferPool {
  readonly size: number
  take(): Buffer
  /** Only for buffers that nothing reads any more. */
  give(buffer: Buffer): void
  /** Lets go of what lies about unused. */
  trim(): void
}

export function createBufferPool(size: number): BufferPool {
  let free: Buffer[] = []
  return {
    size,
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(size),
    give(buffer) {
      free.push(buffer)
    },
    trim() {
      free = []
    },
  }
}
