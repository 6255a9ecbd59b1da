import { format } from './rounds.mjs'

const WIDTH = 720
const ROW = 34
const LEFT = 210
const RIGHT = 90

/** A bar for each contender: the median, with a line from minimum to maximum. */
export function barChart(result, metric) {
  const rows = Object.entries(result.contenders).map(([name, values]) => ({ name, ...values[metric.key] }))
  const top = Math.max(...rows.map((row) => row.max)) || 1
  const x = (value) => LEFT + (value / top) * (WIDTH - LEFT - RIGHT)
  const bars = rows.map((row, i) => {
    const y = 44 + i * ROW
    const ours = row.name.startsWith('fastify-scale')
    return `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end">${escape(row.name)}</text>
<rect x="${LEFT}" y="${y}" width="${(x(row.median) - LEFT).toFixed(1)}" height="20" rx="3" class="${ours ? 'ours' : 'other'}"/>
<line x1="${x(row.min).toFixed(1)}" x2="${x(row.max).toFixed(1)}" y1="${y + 10}" y2="${y + 10}" class="range"/>
<text x="${(x(row.max) + 8).toFixed(1)}" y="${y + 14}">${format(row.median)}</text>`
  })
  return svg(
    `${result.title}: ${metric.label} (${metric.better === 'low' ? 'lower' : 'higher'} is better)`,
    54 + rows.length * ROW,
    bars.join('\n'),
  )
}

/**
 * A line for each of the series over a logarithmic scale: how cost grows. `points` are `{ at, value }`. With `logY` the
 * values are logarithmic too: what is linear rises at 45 degrees of the grid, what is flat is level.
 */
export function lineChart(title, xLabel, series, { logY = false } = {}) {
  const all = series.flatMap(({ points }) => points)
  const low = Math.log10(Math.min(...all.map(({ at }) => at)))
  const high = Math.log10(Math.max(...all.map(({ at }) => at)))
  const top = Math.max(...all.map(({ value }) => value)) || 1
  const height = 320
  const x = (at) => 70 + ((Math.log10(at) - low) / (high - low || 1)) * (WIDTH - 230)
  // Nothing is drawn below a thousandth of a thousandth of the top.
  const bottom = Math.max(top / 1e6, Math.min(...all.map(({ value }) => value).filter((value) => value > 0)))
  const share = (value) =>
    logY ? Math.log(Math.max(value, bottom) / bottom) / (Math.log(top / bottom) || 1) : value / top
  const y = (value) => height - 46 - share(value) * (height - 100)
  const lines = series.map(({ name, points }, i) => {
    const path = points
      .map(({ at, value }, n) => `${n ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
      .join(' ')
    const last = points.at(-1)
    return `<path d="${path}" class="line s${i % 4}"/>
${points.map(({ at, value }) => `<circle cx="${x(at).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" class="dot s${i % 4}"/>`).join('')}
<text x="${x(last.at) + 10}" y="${y(last.value) + 4 + i}">${escape(name)} ${format(last.value)}</text>`
  })
  const ticks = [...new Set(all.map(({ at }) => at))].map(
    (at) => `<text x="${x(at)}" y="${height - 26}" text-anchor="middle" class="tick">${format(at)}</text>`,
  )
  return svg(
    title,
    height,
    `${ticks.join('')}<text x="${WIDTH / 2}" y="${height - 8}" text-anchor="middle" class="tick">${escape(xLabel)}</text>${lines.join('\n')}`,
  )
}

function svg(title, height, body) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(title)}">
<style>text{font:13px system-ui,sans-serif;fill:#1f2933}.title{font-weight:600;font-size:14px}.tick{fill:#52606d;font-size:12px}.ours{fill:#0b7285}.other{fill:#adb5bd}.range{stroke:#1f2933;stroke-width:1.5}.line{fill:none;stroke-width:2}.s0{stroke:#0b7285}.s1{stroke:#c2410c}.s2{stroke:#5b21b6}.s3{stroke:#4d7c0f}.dot{fill:#fff;stroke-width:2}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" class="title">${escape(title)}</text>
${body}
</svg>
`
}

function escape(text) {
  return String(text).replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char])
}
