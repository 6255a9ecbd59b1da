import { sideBySide, turned } from './side-by-side.mjs'
import { summary } from './stats.mjs'

/**
 * Runs the contenders of one comparison interleaved: A B C, B C A, … . Each round starts its server or script anew.
 * A round in which anything failed is not a result: it ends the comparison.
 *
 * @param comparison `{ name, title, question, base, metrics: [{ key, label, better }], contenders: { name: async () => ({ key: number }) } }`;
 * with `turns` its contenders are up at once and take so many turns a round, see `sideBySide()`
 * @param options `{ rounds, only?, log }`
 */
export async function runComparison(comparison, { rounds, log }) {
  const names = Object.keys(comparison.contenders)
  const raw = Object.fromEntries(names.map((name) => [name, []]))
  for (let round = 1; round <= rounds; round++) {
    for await (const [name, result] of roundOf(comparison, turned(names, round - 1))) {
      if (result.failures)
        throw new Error(
          `${comparison.name}: ${name} had ${result.failures} failed requests in round ${round}: not a result`,
        )
      raw[name].push(result)
      const shown = comparison.metrics.map(({ key, label }) => `${label} ${format(result[key])}`).join(', ')
      log(`${comparison.name} ${round}/${rounds} ${name}: ${shown}`)
    }
  }
  const contenders = Object.fromEntries(
    names.map((name) => [
      name,
      Object.fromEntries(
        comparison.metrics.map(({ key }) => [
          key,
          { ...summary(raw[name].map((result) => result[key])), rounds: raw[name].map((result) => result[key]) },
        ]),
      ),
    ]),
  )
  const { name, title, question, method, base, metrics, goals = [], note } = comparison
  return { name, title, question, method, base, metrics, goals, note, contenders }
}

async function* roundOf({ contenders, turns }, names) {
  if (turns) {
    const inTurn = Object.fromEntries(names.map((name) => [name, contenders[name]]))
    yield* Object.entries(await sideBySide(inTurn, { turns }))
  } else for (const name of names) yield [name, await contenders[name]()]
}

/** A number as people read it: three significant digits, thousands separated. */
export function format(value) {
  // JSON has no NaN: null.
  if (value === undefined || value === null || Number.isNaN(value)) return 'n/a'
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}
