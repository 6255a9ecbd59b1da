import { ratios } from './stats.mjs'

/**
 * Judges a goal `{ metric, contender, over, max?, min?, allowance? }`: the ratio of a contender to another one, round by
 * round. Missed beyond noise is a goal that the median misses and that no single round met.
 */
export function judge(goal, contenders) {
  const ratio = ratios(contenders[goal.contender][goal.metric].rounds, contenders[goal.over][goal.metric].rounds)
  const met = goal.max === undefined ? ratio.median >= goal.min : ratio.median <= goal.max
  const best = goal.max === undefined ? ratio.max >= goal.min : ratio.min <= goal.max
  return { ...goal, ratio, met, regressed: !met && !best }
}

/** A goal in words, with what was measured. */
export function describe({ metric, contender, over, max, min, ratio, met }) {
  const bound = max === undefined ? `at least ${min}x` : `at most ${max}x`
  const { median, min: low, max: high } = ratio
  return `${contender} ${bound} of ${over} (${metric}): ${median.toFixed(2)}x, rounds from ${low.toFixed(2)} to ${high.toFixed(2)}: ${met ? 'met' : 'missed'}`
}
