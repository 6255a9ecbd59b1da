import { format } from './rounds.mjs'
import { ratios, summary } from './stats.mjs'

/**
 * Judges a goal `{ metric, contender, over?, max?, min?, unit?, always?, why? }`: the ratio of a contender to another one, round by round,
 * or without `over` the figure itself. Missed beyond noise is a goal that the median misses and that no single round met;
 * with `always` (nothing may be lost) every round has to meet it.
 */
export function judge(goal, contenders) {
  const { rounds } = contenders[goal.contender][goal.metric]
  const ratio = goal.over ? ratios(rounds, contenders[goal.over][goal.metric].rounds) : summary(rounds)
  const meets = (value) => (goal.max === undefined ? value >= goal.min : value <= goal.max)
  const [best, worst] = goal.max === undefined ? [ratio.max, ratio.min] : [ratio.min, ratio.max]
  const met = meets(goal.always ? worst : ratio.median)
  return { ...goal, ratio, met, regressed: !met && (goal.always === true || !meets(best)) }
}

/**
 * Whether a goal is missed beyond noise now and was not before: what the page says was missed is no regression as long as
 * some round is as good as the worst one was then. `before` is the judgement of the committed results, where there is one.
 */
export function isRegression(judged, before) {
  if (!judged.regressed) return false
  if (!before || before.met) return true
  return judged.max === undefined ? judged.ratio.max < before.ratio.min : judged.ratio.min > before.ratio.max
}

/** A goal in words, with what was measured and, where it was missed, its `why`; `label` is that of its metric. */
export function describe({ metric, contender, over, max, min, unit = '', ratio, met, why }, label = metric) {
  const show = (value) => (over ? `${value.toFixed(2)}x` : `${format(value)} ${unit}`.trim())
  const bound =
    max === undefined ? `at least ${over ? `${min}x` : show(min)}` : `at most ${over ? `${max}x` : show(max)}`
  const { median, min: low, max: high } = ratio
  const measured = `${show(median)}, rounds from ${show(low).replace(/[x ].*/, '')} to ${show(high).replace(/[x ].*/, '')}`
  return `${contender} ${bound}${over ? ` of ${over}` : ''} (${label}): ${measured}: ${met ? 'met' : `missed${why ? `. ${why}` : ''}`}`
}
