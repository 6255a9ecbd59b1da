import { type Level, redLines } from './measure.ts'
import { rowOf, sentencesOf } from './report.ts'

const WIDTH = 640
const HEIGHT = 260
const PAD = 46

/** The measurement as one HTML file with plots and nothing to load. */
export function pageOf(target: string, at: string, levels: Level[]): string {
  const heads = [
    'workers',
    'connections',
    'requests/s',
    'p50 ms',
    'p97.5 ms',
    'p99 ms',
    'failed',
    'CPU',
    'memory',
    'loop ms',
    '',
  ]
  const rows = levels.map(
    (level) =>
      `<tr${redLines(level).length > 0 || level.failed > 0 ? ' class="red"' : ''}>${rowOf(level)
        .map((cell) => `<td>${escape(cell)}</td>`)
        .join('')}</tr>`,
  )
  const plots: [string, (level: Level) => number | undefined][] = [
    ['Requests per second', ({ rps }) => rps],
    ['Latency, 99th percentile (ms)', ({ latency }) => latency.p99],
    ['CPU of the busiest worker (% of a core)', ({ cpu }) => cpu && cpu * 100],
    ['Memory of the largest worker (MB)', ({ memory }) => memory && memory / 1_048_576],
    ['Event-loop delay (ms)', ({ loopDelay }) => loopDelay],
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Load on ${escape(target)}</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #8884}.red td{color:#c2410c}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem}svg{width:100%;height:auto}svg text{font:12px system-ui;fill:currentColor}figure{margin:0}.scroll{overflow-x:auto}</style></head>
<body><h1>Load on ${escape(target)}</h1><p>${escape(at)}</p>${sentencesOf(levels)
    .map((sentence) => `<p>${escape(sentence)}</p>`)
    .join('')}
<div class="plots">${plots.map(([title, pick]) => plot(title, levels, pick)).join('')}</div>
<h2>Measured</h2><div class="scroll"><table><thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div></body></html>
`
}

const COLOURS = ['#0b7285', '#c2410c', '#5b21b6', '#4d7c0f', '#a61e4d', '#364fc7']

/** A line for each number of workers over the connections, on a logarithmic scale. */
function plot(title: string, levels: Level[], pick: (level: Level) => number | undefined): string {
  const known = levels.filter((level) => pick(level) !== undefined)
  if (known.length === 0) return ''
  const steps = [...new Set(known.map(({ connections }) => connections))].toSorted((a, b) => a - b)
  const top = Math.max(...known.map((level) => pick(level) as number)) || 1
  const x = (connections: number): number =>
    PAD + (steps.indexOf(connections) / Math.max(1, steps.length - 1)) * (WIDTH - PAD - 130)
  const y = (value: number): number => HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD)
  const lines = [...new Set(known.map(({ workers }) => workers))].map((workers, index) => {
    const points = known.filter((level) => level.workers === workers)
    const last = points.at(-1) as Level
    const colour = COLOURS[index % COLOURS.length]
    const path = points
      .map((level, i) => `${i ? 'L' : 'M'}${x(level.connections).toFixed(1)} ${y(pick(level) as number).toFixed(1)}`)
      .join(' ')
    const label = workers === undefined ? '' : `${workers} ${workers === 1 ? 'worker' : 'workers'}`
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${points.map((level) => `<circle cx="${x(level.connections).toFixed(1)}" cy="${y(pick(level) as number).toFixed(1)}" r="3" fill="${colour}"/>`).join('')}<text x="${x(last.connections) + 8}" y="${y(pick(last) as number) + 4}">${label}</text>`
  })
  const ticks = steps.map((step) => `<text x="${x(step)}" y="${HEIGHT - PAD + 18}" text-anchor="middle">${step}</text>`)
  return `<figure><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)} by connections"><text x="${PAD}" y="20" font-weight="600">${escape(title)}</text><line x1="${PAD}" x2="${WIDTH - 120}" y1="${HEIGHT - PAD}" y2="${HEIGHT - PAD}" stroke="currentColor" opacity=".4"/><text x="${PAD - 6}" y="${y(top) + 4}" text-anchor="end">${shorten(top)}</text><text x="${PAD - 6}" y="${HEIGHT - PAD}" text-anchor="end">0</text>${ticks.join('')}<text x="${(WIDTH - 130) / 2 + PAD / 2}" y="${HEIGHT - 8}" text-anchor="middle">connections</text>${lines.join('')}</svg></figure>`
}

function shorten(value: number): string {
  return value >= 1_000 ? `${(value / 1_000).toPrecision(3)}k` : value.toPrecision(3)
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
}
