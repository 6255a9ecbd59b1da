import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { barChart, lineChart } from './chart.mjs'
import { describe, judge } from './goals.mjs'
import { format } from './rounds.mjs'

const root = new URL('../../', import.meta.url).pathname
const resultsFile = join(root, 'bench/results.json')
const chartsFolder = join(root, 'docs/benchmarks')

/** What was measured so far; a run of some comparisons keeps the figures of the others. */
export function readResults() {
  return existsSync(resultsFile) ? JSON.parse(readFileSync(resultsFile, 'utf8')) : { comparisons: {} }
}

export function machine() {
  return {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  }
}

/** Adds one result, and writes results.json and the page. */
export function writeResult(result, versions = {}) {
  const results = readResults()
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
  results.comparisons[result.name] = {
    ...result,
    measured: { at: new Date().toISOString().slice(0, 10), commit, machine: machine(), versions },
  }
  writePage(results)
}

/** Writes results.json, the charts and docs/benchmarks.md; what comparisons that are no more have left behind is dropped. */
export function writePage(results = readResults()) {
  const names = new Set(readdirSync(join(root, 'bench/comparisons')).map((name) => name.replace(/\.mjs$/, '')))
  for (const name of Object.keys(results.comparisons)) if (!names.has(name)) delete results.comparisons[name]
  writeFileSync(resultsFile, `${JSON.stringify(results, null, 1)}\n`)
  rmSync(chartsFolder, { recursive: true, force: true })
  mkdirSync(chartsFolder, { recursive: true })
  for (const one of Object.values(results.comparisons)) {
    if (one.growth)
      writeFileSync(
        join(chartsFolder, `${one.name}.svg`),
        lineChart(one.title, one.growth.xLabel, one.growth.series, one.growth),
      )
    else
      for (const metric of one.metrics.filter(({ chart }) => chart))
        writeFileSync(join(chartsFolder, `${one.name}-${metric.key}.svg`), barChart(one, metric))
  }
  writeFileSync(join(root, 'docs/benchmarks.md'), page(results))
}

/** The order of the page: by what is compared, and within that by name. */
const TOPICS = ['full-stack', 'launcher', 'cache', 'auth', 'compress', 'storage', 'realtime', 'jobs', 'settings']

export function inOrder(comparisons) {
  const topic = ({ name }) => TOPICS.findIndex((one) => name === one || name.startsWith(`${one}-`))
  return Object.values(comparisons).sort(
    (a, b) => topic(a) - topic(b) || a.name.localeCompare(b.name, 'en', { numeric: true }),
  )
}

/** What GitHub makes of a heading. */
const anchor = (title) =>
  title
    .toLowerCase()
    .replace(/[^\w\s-]/g, '')
    .replace(/\s/g, '-')

/** A line for the table at the top: where to find it, and how many of its goals were met. */
function contentsRow(result) {
  const judged = result.goals.map((goal) => judge(goal, result.contenders))
  const missed = judged.filter(({ met }) => !met).length
  const goals =
    judged.length === 0 ? '' : missed === 0 ? `${judged.length} met` : `${missed} of ${judged.length} missed`
  return `| [${result.title}](#${anchor(result.title)}) | ${goals} |`
}

function page(results) {
  const ordered = inOrder(results.comparisons)
  const sections = ordered.map(section)
  return `# Benchmarks

Made by \`npx pnpm bench\`; \`npx pnpm bench <name>\` makes one again. Each comparison runs its contenders interleaved (A B C, B C A, …), every round with fresh processes and a warm-up; the figures are medians over the rounds with the minimum and maximum, and ratios are taken round by round. Load comes from another process (wrk) on the same machine; CPU is that of all server processes, read from /proc, which is steadier than requests per second on a shared machine. A run with a failed request is not a result, except where failures are what is counted. The raw numbers are in [bench/results.json](../bench/results.json).

| | goals |
|---|---|
${ordered.map(contentsRow).join('\n')}

${sections.join('\n')}`
}

function section(result) {
  const { machine: m, at, commit, versions } = result.measured
  const parts = [`## ${result.title}`, '', result.question, '']
  if (result.growth) parts.push(`![${result.title}](benchmarks/${result.name}.svg)`, '', result.growth.sentence, '')
  parts.push(
    `| | ${result.metrics.map(({ label }) => label).join(' | ')} |`,
    `|---|${result.metrics.map(() => '---:').join('|')}|`,
  )
  for (const [name, values] of Object.entries(result.contenders))
    parts.push(`| ${name} | ${result.metrics.map(({ key }) => cell(values[key])).join(' | ')} |`)
  parts.push('')
  for (const metric of result.growth ? [] : result.metrics.filter(({ chart }) => chart))
    parts.push(`![${result.title}, ${metric.label}](benchmarks/${result.name}-${metric.key}.svg)`, '')
  for (const goal of result.goals)
    parts.push(`- ${describe(judge(goal, result.contenders), labelOf(result, goal.metric))}`)
  if (result.goals.length) parts.push('')
  if (result.note) parts.push(result.note, '')
  const with_ = Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
  parts.push(
    `<sub>${result.method ? `${result.method} ` : ''}${at}, commit ${commit}, ${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, Linux ${m.kernel}, Node ${m.node}${with_ ? `, ${with_}` : ''}.</sub>`,
    '',
  )
  return parts.join('\n')
}

function labelOf({ metrics }, key) {
  return metrics.find((metric) => metric.key === key)?.label ?? key
}

function cell(value) {
  return value ? `${format(value.median)} <sub>${format(value.min)}–${format(value.max)}</sub>` : ''
}
