import { inspect } from 'node:util'
import { type FailOption, failOption } from './errors.ts'

/** Milliseconds as a number, or text such as `'250ms'`, `'30s'`, `'5m'`, `'12h'`, `'14d'`. */
export type Duration = number | string

/** Bytes as a number, or text such as `'512B'`, `'100KB'`, `'25MB'`, `'1GB'`; a KB is 1,024 bytes. */
export type Size = number | string

/** How a numeric option is checked; `name` is what the error message calls it. */
export interface Check {
  /** The option's full name as the user wrote it, for example `sessions.idleTimeout`. */
  name: string
  /** Smallest value allowed, in the parsed unit. Default 1. */
  min?: number
  /** Largest value allowed, in the parsed unit. Default `Number.MAX_SAFE_INTEGER`. */
  max?: number
  /** Makes the error. Default: `SCALE_KIT_OPTION`. */
  fail?: FailOption
}

const DURATION_UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE_UNITS: Record<string, number> = { B: 1, KB: 1_024, MB: 1_024 ** 2, GB: 1_024 ** 3, TB: 1_024 ** 4 }

/** Turns a duration into whole milliseconds, or throws the check's error. */
export function parseDuration(value: Duration, check: Check): number {
  return parseUnits(
    value,
    check,
    DURATION_UNITS,
    /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/,
    "milliseconds, or text like '30s' or '5m'",
  )
}

/** Turns a size into whole bytes, or throws the check's error. */
export function parseSize(value: Size, check: Check): number {
  return parseUnits(
    value,
    check,
    SIZE_UNITS,
    /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)$/i,
    "bytes, or text like '100KB' or '25MB'",
  )
}

/** Checks a whole number within bounds, or throws the check's error. */
export function parseInteger(value: number, check: Check): number {
  const { min = 1, max = Number.MAX_SAFE_INTEGER, fail = failOption } = check
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    throw fail(`option '${check.name}' must be a whole number ${bounds(min, max)}, but is ${show(value)}`)
  return value
}

/** Refuses option names that the package does not know: a misspelt option must not be silently ignored. */
export function checkKnown(
  options: object,
  known: readonly string[],
  where: string,
  fail: FailOption = failOption,
): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    throw fail(`unknown option '${key}' of ${where}; known are ${known.join(', ')}`)
  }
}

/** Shows a value in an error message, on one line, at most 60 characters. */
export function show(value: unknown): string {
  const text = inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY })
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function parseUnits(
  value: number | string,
  check: Check,
  units: Record<string, number>,
  pattern: RegExp,
  form: string,
): number {
  const { min = 1, max = Number.MAX_SAFE_INTEGER, fail = failOption } = check
  let parsed = Number.NaN
  if (typeof value === 'number') parsed = value
  else if (typeof value === 'string') {
    const match = pattern.exec(value.trim())
    const unit = match?.[2]
    if (match && unit) parsed = Math.round(Number(match[1]) * (units[unit] ?? units[unit.toUpperCase()] ?? Number.NaN))
  }
  if (!Number.isSafeInteger(parsed) || parsed < min || parsed > max)
    throw fail(`option '${check.name}' must be ${form}, ${bounds(min, max)}, but is ${show(value)}`)
  return parsed
}

function bounds(min: number, max: number): string {
  return max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
}
