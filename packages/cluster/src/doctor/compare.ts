import { isDeepStrictEqual } from 'node:util'
import type { ProbeAnswer } from './messages.ts'

/** Stands for a value that changes from one answer of the same process to the next: a time, a random id. */
const VOLATILE = '«changes»'
/** Stands for the id of the process that answered. */
const PID = '«pid»'

/** What the answers of several workers to one request say. */
export type Comparison = 'same' | 'differs' | 'counts'

/**
 * Compares several answers of each worker, all to the same request, asked worker by worker.
 *
 * - `counts`: what changes from answer to answer goes through the same values in each process. A clock, a random number or
 *   a counter shared by all would not repeat itself, and a clock in whole seconds does not change between two answers.
 * - `differs`: workers disagree in something that does not change within one of them.
 */
export function compareWorkers(asked: ProbeAnswer[][]): Comparison {
  const [head, ...rest] = asked
  if (!head || rest.length === 0) return 'same'
  if (changesEachTime(head) && rest.every((answers) => isDeepStrictEqual(answers, head))) return 'counts'
  const common = placesThatChange(asked)
  return asked.every(([answer]) => isDeepStrictEqual(spread(answer, common), common)) ? 'same' : 'differs'
}

/**
 * One answer of each worker to the same question, without the ids of their processes where each names its own: that says
 * who answered, and is nothing that is kept.
 */
export function withoutPids<T>(answers: T[], pids: number[]): T[] {
  return strip(answers, pids) as T[]
}

function strip(values: unknown[], pids: number[]): unknown[] {
  const [first] = values
  // Also what happens to be somebody's id: all say the same.
  if (values.every((value) => isDeepStrictEqual(value, first))) return values
  const named = values.map((value, i) => withoutPid(value, pids[i] as number))
  if (named.every((value) => typeof value === 'string' && value === named[0])) return named
  if (values.every(Array.isArray) && values.every(({ length }) => length === (first as unknown[]).length)) {
    const columns = (first as unknown[]).map((_, at) =>
      strip(
        values.map((value) => (value as unknown[])[at]),
        pids,
      ),
    )
    return values.map((_, i) => columns.map((column) => column[i]))
  }
  if (
    values.every(isRecord) &&
    values.every((value) => isDeepStrictEqual(Object.keys(value), Object.keys(first as object)))
  ) {
    const columns = Object.keys(first as object).map(
      (key) =>
        [
          key,
          strip(
            values.map((value) => value[key]),
            pids,
          ),
        ] as const,
    )
    return values.map((_, i) => Object.fromEntries(columns.map(([key, column]) => [key, column[i]])))
  }
  return values
}

function withoutPid(value: unknown, pid: number): unknown {
  if (value === pid) return PID
  return typeof value === 'string' ? value.replaceAll(new RegExp(`(?<!\\d)${pid}(?!\\d)`, 'g'), PID) : value
}

/** No answer is the one before it. */
export function changesEachTime(answers: ProbeAnswer[]): boolean {
  return answers.length > 1 && answers.every((answer, i) => i === 0 || !isDeepStrictEqual(answer, answers[i - 1]))
}

/** The first worker's first answer with every place marked that changes from answer to answer, in any of the workers. */
export function placesThatChange(asked: ProbeAnswer[][]): unknown {
  return asked
    .map(([first, ...others]) => others.reduce((marked: unknown, other) => spread(marked, mask(first, other)), first))
    .reduce((left, right) => spread(left, right))
}

/**
 * True where worker `changed` now answers something else and another worker does not.
 *
 * @param changing what `placesThatChange` has found before: it is not compared
 */
export function changedAlone(before: ProbeAnswer[], after: ProbeAnswer[], changed: number, changing: unknown): boolean {
  const [was, is] = [before, after].map((answers) => answers.map((answer) => spread(answer, changing)))
  const now = is?.[changed]
  if (now === undefined || isDeepStrictEqual(was?.[changed], now)) return false
  return (is ?? []).some(
    (answer, worker) =>
      worker !== changed && isDeepStrictEqual(answer, was?.[worker]) && !isDeepStrictEqual(answer, now),
  )
}

/** True where two answers are the same but for the places that change. */
export function isSame(left: ProbeAnswer | undefined, right: ProbeAnswer | undefined, changing: unknown): boolean {
  return isDeepStrictEqual(spread(left, changing), spread(right, changing))
}

/** The first answer with what is another in the second one replaced. */
export function mask(first: unknown, second: unknown): unknown {
  if (isDeepStrictEqual(first, second)) return first
  if (Array.isArray(first) && Array.isArray(second) && first.length === second.length)
    return first.map((value, i) => mask(value, second[i]))
  if (isRecord(first) && isRecord(second) && isDeepStrictEqual(Object.keys(first), Object.keys(second)))
    return Object.fromEntries(Object.entries(first).map(([key, value]) => [key, mask(value, second[key])]))
  return VOLATILE
}

/** `left` with the places marked that are marked in `right`. */
function spread(left: unknown, right: unknown): unknown {
  if (left === VOLATILE || right === VOLATILE) return VOLATILE
  if (Array.isArray(left) && Array.isArray(right) && left.length === right.length)
    return left.map((value, i) => spread(value, right[i]))
  if (isRecord(left) && isRecord(right) && isDeepStrictEqual(Object.keys(left), Object.keys(right)))
    return Object.fromEntries(Object.entries(left).map(([key, value]) => [key, spread(value, right[key])]))
  return left
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
