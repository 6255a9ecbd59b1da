/** Remembers the end of what a process wrote to stderr. */
export interface Tail {
  add(chunk: Buffer): void
  /** The line that says why, where an uncaught error was printed: `TypeError: x is not a function`. */
  error(): string | undefined
}

const KEEP = 8_192

export function createTail(): Tail {
  let text = ''
  return {
    add(chunk) {
      text = (text + chunk.toString()).slice(-KEEP)
    },
    error() {
      const lines = text.split('\n')
      const named = lines.findLast((line) =>
        /^(?:\[?(?:[A-Z]\w*)?(?:Error|Exception)\]?\b.*|FATAL ERROR: .*)$/.test(line),
      )
      return (named ?? lines.findLast((line) => line.trim() !== '' && !/^Node\.js v/.test(line)))?.trim().slice(0, 300)
    },
  }
}
