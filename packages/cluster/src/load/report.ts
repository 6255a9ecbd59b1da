import { plural } from '../report.ts'
import { type Level, RED_CPU, RED_MEMORY, growth, redLines } from './measure.ts'

const HEAD = [
  'workers',
  'connections',
  'req/s',
  'p50 ms',
  'p97.5 ms',
  'p99 ms',
  'failed',
  'cpu',
  'memory',
  'loop ms',
  '',
]

/** One level as a row for a terminal. */
export function rowOf(level: Level): string[] {
  const { latency } = level
  return [
    level.workers === undefined ? '-' : String(level.workers),
    String(level.connections),
    String(level.rps),
    String(latency.p50),
    String(latency.p97),
    String(latency.p99),
    String(level.failed),
    level.cpu === undefined ? '-' : `${Math.round(level.cpu * 100)}%`,
    level.memory === undefined ? '-' : `${Math.round(level.memory / 1_048_576)} MB`,
    level.loopDelay === undefined ? '-' : level.loopDelay.toFixed(1),
    [
      ...redLines(level).map((line) => `red: ${line}`),
      ...(level.failed > 0 ? ['failures'] : []),
      ...(level.refused ? ['4xx'] : []),
    ].join(', '),
  ]
}

/** All levels as a table, with what they say in words. */
export function tableOf(levels: Level[]): string {
  const rows = [HEAD, ...levels.map(rowOf)]
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padStart(widths[column] as number))
      .join('  ')
      .trimEnd(),
  )
  return [...lines, '', ...sentencesOf(levels)].join('\n')
}

/** What a team lead wants to know. */
export function sentencesOf(levels: Level[]): string[] {
  const sentences: string[] = []
  const red = levels.find((level) => redLines(level).length > 0)
  sentences.push(
    red
      ? `The first red line (${redLines(red).join(' and ')}: CPU ${RED_CPU * 100}% of a core, memory ${RED_MEMORY * 100}% of a worker's share) is crossed at ${placeOf(red)}, ${red.rps} requests/s.`
      : 'No red line was crossed.',
  )
  const rows = growth(levels)
  if (rows.length > 1)
    sentences.push(
      `Throughput by workers: ${rows.map(({ workers, rps, times }) => `${workers}: ${rps}/s (${times.toFixed(2)}x)`).join(', ')}.`,
    )
  const failures = levels.filter(({ failed }) => failed > 0)
  if (failures.length > 0)
    sentences.push(`Requests failed at ${failures.map(placeOf).join(', ')}: those levels are no result.`)
  const refused = levels.filter((level) => level.refused)
  if (refused.length > 0)
    sentences.push(
      `Requests were answered by 4xx at ${refused.map((level) => `${placeOf(level)} (${level.refused})`).join(', ')}: are path and headers those of the app's users?`,
    )
  return sentences
}

function placeOf({ connections, workers }: Level): string {
  return `${plural(connections, 'connection')}${workers === undefined ? '' : ` on ${plural(workers, 'worker')}`}`
}
