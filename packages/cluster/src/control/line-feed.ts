/** Log lines for those who follow them, and the last ones for those who come late. */
export interface LineFeed {
  push(line: string): void
  /** The last lines, at most `count`. */
  last(count: number): string[]
  /** Calls back with each line; returns the function that stops it. */
  follow(listener: (line: string) => void): () => void
  readonly followers: number
}

const KEEP = 200

export function createLineFeed(): LineFeed {
  const lines: string[] = []
  const listeners = new Set<(line: string) => void>()
  return {
    push(line) {
      lines.push(line)
      if (lines.length > KEEP) lines.shift()
      for (const listener of listeners) listener(line)
    },
    last: (count) => (count > 0 ? lines.slice(-count) : []),
    follow(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    get followers() {
      return listeners.size
    },
  }
}
