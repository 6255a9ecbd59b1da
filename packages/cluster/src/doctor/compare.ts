import { isDeepStrictEqual } from 'node:util'
import type { ProbeAnswer } from './messages.ts'

/** Stands for a value that changes from one answer of the same process to the next: a time, a random id. */
const VOLATILE = '«changes»'

/** What the answers of several workers to one request, asked `first` and then `second` of each, say. */
export type Comparison = 'same' | 'differs' | 'counts'

/**
 * Compares two answers of each worker, all to the same request, asked worker by worker.
 *
 * - `counts`: what changes from answer to answer goes through the same values in each process. A clock, a random number or
 *   a counter shared by all would not repeat itself.
 * - `differs`: workers disagree in something that does not change within one of them.
 */
export function compareWorkers(pairs: { first: ProbeAnswer; second: ProbeAnswer }[]): Comparison {
  const [head, ...rest] = pairs
  if (!head || rest.length === 0) return 'same'
  const changes = !isDeepStrictEqual(head.first, head.second)
  if (
    changes &&
    rest.every(({ first, second }) => isDeepStrictEqual(first, head.first) && isDeepStrictEqual(second, head.second))
  )
    return 'counts'
  const masked = pairs.map(({ first, second }) => mask(first, second))
  // A place that changes in one worker is not compared in any.
  const common = masked.reduce((left, right) => spread(left, right))
  return masked.every((answer) => isDeepStrictEqual(spread(answer, common), common)) ? 'same' : 'differs'
}

/** True where worker `changed` now answers something else and another worker does not. */
export function changedAlone(before: ProbeAnswer[], after: ProbeAnswer[], changed: number): boolean {
  const own = before[changed]
  const now = after[changed]
  if (!own || !now || isDeepStrictEqual(own, now)) return false
  return after.some(
    (answer, worker) =>
      worker !== changed && isDeepStrictEqual(answer, before[worker]) && !isDeepStrictEqual(answer, now),
  )
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
