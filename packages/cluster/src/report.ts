import { hostname } from 'node:os'

/** How the launcher speaks to operators: readable lines on a terminal, pino lines elsewhere. */
export interface Report {
  info(message: string, details?: object): void
  warn(message: string, details?: object): void
  error(message: string, details?: object): void
}

export interface ReportOptions {
  name: string
  /** Level from which lines are written where there is no terminal. */
  level: string
  /** True where a person watches. Default: stderr is a terminal. */
  terminal?: boolean
  /** Every line of the launcher, however it is shown. */
  onLine?: (line: string) => void
}

/** Of pino, whose lines the launcher's look like. Pino itself would be an eighth of the launcher's memory for a few lines a day. */
const LEVELS: Record<string, number> & Record<'info' | 'warn' | 'error', number> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: Number.POSITIVE_INFINITY,
}
const PAINT = { info: ['', ''], warn: ['\x1b[33m', '\x1b[39m'], error: ['\x1b[31m', '\x1b[39m'] } as const

export function createReport({ name, level, terminal = process.stderr.isTTY, onLine }: ReportOptions): Report {
  const base = { pid: process.pid, hostname: hostname(), launcher: name }
  const least = LEVELS[level] ?? LEVELS.info
  const say = (kind: 'info' | 'warn' | 'error', message: string, details: object = {}): void => {
    if (LEVELS[kind] >= least) {
      const line = `${JSON.stringify({ level: LEVELS[kind], time: Date.now(), ...base, ...details, msg: message })}\n`
      if (!terminal) process.stdout.write(line)
      onLine?.(line)
    }
    if (!terminal) return
    const [on, off] = PAINT[kind]
    process.stderr.write(`\x1b[2m${clock()} ${name}\x1b[22m  ${on}${message}${off}\n`)
  }
  return {
    info: (message, details) => say('info', message, details),
    warn: (message, details) => say('warn', message, details),
    error: (message, details) => say('error', message, details),
  }
}

function clock(): string {
  return new Date().toTimeString().slice(0, 8)
}

/** `1 worker`, `2 workers`. */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

/** ms as a person reads them: `412 ms`, `3.2 s`. */
export function took(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}
