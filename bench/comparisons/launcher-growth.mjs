import { cpuOf } from '../lib/launcher-round.mjs'
import { startLauncher } from '../lib/launchers.mjs'
import { loadWithWrk } from '../lib/load.mjs'
import { format } from '../lib/rounds.mjs'

const LAUNCHERS = [1, 2, 4]
const WORKERS = [1, 2]
const name = (launchers, workers) => `${launchers} x ${workers}`

/** Launchers side by side, each with a share of the same load, as behind a balancer. */
async function round(count, workers) {
  const launchers = await Promise.all(Array.from({ length: count }, () => startLauncher('ours-metrics', { workers })))
  const load = (seconds) =>
    Promise.all(launchers.map(({ url }) => loadWithWrk(`${url}/json`, { connections: 64 / count, seconds })))
  try {
    // Long enough for eight workers to have compiled what they run.
    await load(2)
    const cpu = () => launchers.reduce((sum, one) => sum + cpuOf(one), 0)
    const before = cpu()
    const results = await load(2)
    const sum = (key) => results.reduce((total, one) => total + one[key], 0)
    return { cpu: ((cpu() - before) * 1e6) / sum('requests'), rps: sum('rps'), failures: sum('failures') }
  } finally {
    await Promise.all(launchers.map((one) => one.stop()))
  }
}

function flat(...ratios) {
  const worst = Math.max(...ratios)
  return worst <= 1.2 ? 'flat where there are cores for them' : `up to ${format(worst)} times as much`
}

export default {
  title: 'Growth: launchers and workers',
  question:
    'So many launchers with so many workers each (1 x 2: one launcher, two workers), a JSON list, 64 kept-alive connections over all of them.',
  base: name(1, 1),
  metrics: [
    { key: 'cpu', label: 'CPU ms per 1,000 requests', better: 'low', chart: true },
    { key: 'rps', label: 'requests/s', better: 'high' },
  ],
  contenders: Object.fromEntries(
    LAUNCHERS.flatMap((launchers) =>
      WORKERS.map((workers) => [name(launchers, workers), () => round(launchers, workers)]),
    ),
  ),
  growth({ contenders }) {
    const cpu = (launchers, workers) => contenders[name(launchers, workers)].cpu.median
    const rps = (launchers, workers) => contenders[name(launchers, workers)].rps.median
    return {
      xLabel: 'launchers',
      series: WORKERS.map((workers) => ({
        name: `${workers === 1 ? '1 worker' : `${workers} workers`} each, CPU ms`,
        points: LAUNCHERS.map((launchers) => ({ at: launchers, value: cpu(launchers, workers) })),
      })),
      sentence: `One launcher with one worker takes ${format(cpu(1, 1))} ms of CPU per 1,000 requests, with two workers ${format(cpu(1, 2))}, two launchers of one ${format(cpu(2, 1))}: ${flat(cpu(1, 2) / cpu(1, 1), cpu(2, 1) / cpu(1, 1))}. Throughput grows with cores and no further, and this machine has two, which the load generator shares: one worker answers ${format(rps(1, 1))} requests/s, two ${format(rps(1, 2))}, and eight ${format(rps(4, 2))} at ${format(cpu(4, 2) / cpu(1, 1))} times the CPU of one, the price of switching between more processes than cores.`,
    }
  },
}
