// pnpm bench [name …] [--rounds N] [--check]: runs comparisons and writes bench/results.json and docs/benchmarks.md.
// With --render nothing is measured: the page is written from results.json, in the words that the comparisons have now.
// With --check nothing is written: goals missed beyond noise that the committed results did not miss as much make it exit 1.
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { writeCapacity } from './capacity.mjs'
import { describe, isRegression, judge } from './lib/goals.mjs'
import { readResults, writePage, writeResult } from './lib/report.mjs'
import { runComparison } from './lib/rounds.mjs'

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    check: { type: 'boolean', default: false },
    render: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
  allowPositionals: true,
})
const folder = new URL('comparisons/', import.meta.url)
const all = readdirSync(folder)
  .filter((file) => file.endsWith('.mjs'))
  .map((file) => file.slice(0, -4))

if (values.list) {
  process.stdout.write(`${all.join('\n')}\n`)
  process.exit(0)
}
if (values.render) {
  const results = readResults()
  for (const name of all) {
    const result = results.comparisons[name]
    if (!result) continue
    const { default: comparison } = await import(new URL(`${name}.mjs`, folder))
    const { title, question, method, goals = [], note } = comparison
    const measured = ({ contender, over = contender }) => result.contenders[contender] && result.contenders[over]
    Object.assign(result, { title, question, method, goals: goals.filter(measured), note })
    if (comparison.growth) result.growth = comparison.growth(result)
  }
  writePage(results)
  process.exit(0)
}
const wanted =
  positionals.length > 0
    ? all.filter((name) => positionals.some((word) => name === word || name.startsWith(`${word}-`)))
    : all
if (wanted.length === 0) {
  process.stderr.write(`bench: no comparison is called '${positionals.join(' ')}'; there are ${all.join(', ')}\n`)
  process.exit(2)
}

const log = (line) => process.stderr.write(`${line}\n`)
/** How the committed results did by this goal; undefined where they do not have it. */
function committed(name, goal) {
  const contenders = before.comparisons[name]?.contenders
  if (!contenders?.[goal.contender]?.[goal.metric] || (goal.over && !contenders[goal.over]?.[goal.metric]))
    return undefined
  return judge(goal, contenders)
}

const before = readResults()
let regressions = 0
for (const name of wanted) {
  const { default: comparison } = await import(new URL(`${name}.mjs`, folder))
  const context = (await comparison.setup?.()) ?? {}
  try {
    const contenders =
      typeof comparison.contenders === 'function' ? comparison.contenders(context) : comparison.contenders
    const result = await runComparison({ ...comparison, name, contenders }, { rounds: Number(values.rounds), log })
    if (comparison.growth) result.growth = comparison.growth(result)
    for (const goal of result.goals) {
      const judged = judge(goal, result.contenders)
      const regressed = isRegression(judged, committed(name, goal))
      if (regressed) regressions++
      process.stdout.write(`${regressed ? '✗' : judged.met ? '✓' : '~'} ${name}: ${describe(judged)}\n`)
    }
    if (!values.check) writeResult(result, comparison.versions?.() ?? {})
  } finally {
    await context.stop?.()
  }
}
if (!values.check) writeCapacity()
process.exit(values.check && regressions > 0 ? 1 : 0)
