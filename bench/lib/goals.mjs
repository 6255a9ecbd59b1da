import { format } from './rounds.mjs'
import { ratios, summary } from './stats.mjs'

/**
 * Judges a goal `{ metric, contender, over?, max?, min?, unit? }`: the ratio of a contender to another one, round by round,
 * or without `over` the figure itself. Missed beyond noise is a goal that the median misses and that no single round met.
 */
export function judge(goal, contenders) {
  const { rounds } = contenders[goal.contender][goal.metric]
  const ratio = goal.over ? ratios(rounds, contenders[goal.over][goal.metric].rounds) : summary(rounds)
  const met = goal.max === undefined ? ratio.median >= goal.min : ratio.median <= goal.max
  const best = goal.max === undefined ? ratio.max >= goal.min : ratio.min <= goal.max
  return { ...goal, ratio, met, regressed: !met && !best }
}

/** A goal in words, with what was measured. */
export function describe({ metric, contender, over, max, min, unit = '', ratio, met }) {
  const show = (value) => (over ? `${value.toFixed(2)}x` : `${format(value)} ${unit}`.trim())
  const bound =
    max === undefined ? `at least ${over ? `${min}x` : show(min)}` : `at most ${over ? `${max}x` : show(max)}`
  const { median, min: low, max: high } = ratio
  const measured = `${show(median)}, rounds from ${show(low).replace(/[x ].*/, '')} to ${show(high).replace(/[x ].*/, '')}`
  return `${contender} ${bound}${over ? ` of ${over}` : ''} (${metric}): ${measured}: ${met ? 'met' : 'missed'}`
}
