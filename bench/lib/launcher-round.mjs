import { sampleProcesses } from '@fastify-scale/cluster/proc'
import { APPS } from './apps.mjs'
import { loadWithWrk } from './load.mjs'
import { launcherTools, memoryOf, startLauncher } from './launchers.mjs'

/**
 * A launcher that takes turns with others (`sideBySide()`): in each turn every one of `paths` (`{ name: path }`) is
 * loaded for so many seconds. CPU is of all its processes, in ms per 1,000 requests, under `cpu<name>`; likewise `rps`
 * and `p99`. Memory is looked at after the last turn.
 */
export const launcherInTurn =
  (kind, { paths, connections = 64, warmup = 3, seconds = 2, headers, ...options }) =>
  async () => {
    const launcher = await startLauncher(kind, { ...options, path: Object.values(paths)[0] })
    const load = (path, seconds) => loadWithWrk(launcher.url + path, { connections, headers, seconds })
    return {
      async warm() {
        for (const path of Object.values(paths)) await load(path, warmup)
      },
      async turn() {
        const figures = { failures: 0 }
        for (const [name, path] of Object.entries(paths)) {
          const before = cpuOf(launcher)
          const { requests, rps, p99, failures } = await load(path, seconds)
          figures[`cpu${name}`] = ((cpuOf(launcher) - before) * 1e6) / requests
          figures[`rps${name}`] = rps
          figures[`p99${name}`] = p99
          figures.failures += failures
        }
        return figures
      },
      last: async () => ({ startMs: launcher.startMs, ...memoryOf(launcher) }),
      stop: () => launcher.stop(),
    }
  }

/** CPU seconds that its processes have used. */
export function cpuOf({ pid, workerPids }) {
  let sum = 0
  for (const { cpuSeconds } of sampleProcesses([pid, ...workerPids()]).values()) sum += cpuSeconds
  return sum
}

export const startAndMemory = [
  { key: 'startMs', label: 'start to first answer ms', better: 'low' },
  { key: 'rssMb', label: 'memory MB', better: 'low' },
  { key: 'workerMb', label: 'of a worker MB', better: 'low' },
  { key: 'primaryMb', label: 'of the primary or daemon MB', better: 'low' },
]

/** How often each launcher is loaded in a round. */
export const TURNS = 3

/** The same application as with node:cluster alone, without any logger. */
export const SILENT = 'fastify-scale, no logger'
export const SILENT_ONLY = 'fastify-scale, no logger, no metrics'
const LOGGED = "node:cluster, Fastify's logger"

const costGoals = (contender, over, max) => ['cpuHello', 'cpuJson'].map((metric) => ({ metric, contender, over, max }))

/** What the costs of launchers are compared by: JSON and hello world, by so many workers. */
export function launcherComparison(workers) {
  const paths = { Hello: '/', Json: '/json' }
  const many = workers === 1 ? 'one worker' : `${workers} workers`
  return {
    title: `The launcher: ${many}`,
    question: `What does a launcher cost per request? Hello world and a JSON list of 3 KB, 64 kept-alive connections, ${many}; CPU of all server processes, the primary or daemon included. The same application with the same logger on both sides: none, or one that logs no request, which is what fastify-scale gives an application that does not say. All launchers are up at once and warm, and the load goes from one to the next every two seconds, three times a round. Start is from nothing, pm2's daemon included, to the first answer. Memory is looked at after the load.`,
    base: 'node:cluster',
    metrics: [
      { key: 'cpuHello', label: 'CPU ms per 1,000, hello world', better: 'low' },
      { key: 'cpuJson', label: 'CPU ms per 1,000, JSON', better: 'low', chart: true },
      { key: 'rpsHello', label: 'requests/s, hello world', better: 'high' },
      { key: 'rpsJson', label: 'requests/s, JSON', better: 'high' },
      { key: 'p99Json', label: 'p99 ms, JSON', better: 'low' },
      ...startAndMemory,
    ],
    goals: [
      // The same application with the same logger on both sides; then what an application has that does not say.
      ...costGoals(SILENT_ONLY, 'node:cluster', 1.02),
      ...costGoals(SILENT, 'node:cluster', 1.05),
      ...costGoals('fastify-scale, no metrics', LOGGED, 1.02),
      ...costGoals('fastify-scale', LOGGED, 1.05),
      ...costGoals('fastify-scale, no metrics', 'node:cluster', 1.02),
      ...costGoals('fastify-scale', 'node:cluster', 1.05),
      { metric: 'primaryMb', contender: 'fastify-scale', max: 60, unit: 'MB' },
    ],
    note: `What it costs over node:cluster is told more closely [here](#the-launcher-cost-over-nodecluster-${many.replace(' ', '-')}).`,
    turns: TURNS,
    setup: async () => ({ tools: await launcherTools() }),
    contenders: ({ tools }) => ({
      'node:cluster': launcherInTurn('bare', { workers, paths }),
      [SILENT_ONLY]: launcherInTurn('ours', { workers, paths, app: APPS.silent }),
      [SILENT]: launcherInTurn('ours-metrics', { workers, paths, app: APPS.silent }),
      [LOGGED]: launcherInTurn('bare-logger', { workers, paths }),
      'fastify-scale, no metrics': launcherInTurn('ours', { workers, paths }),
      'fastify-scale': launcherInTurn('ours-metrics', { workers, paths }),
      'pm2 7': launcherInTurn('pm2', { workers, paths, tools }),
      'Watt 3, Node 22': launcherInTurn('watt', { workers, paths, tools }),
      'fastify-scale, Node 22': launcherInTurn('ours-metrics', { workers, paths, node: node22(tools) }),
    }),
  }
}

/** The Node that came with Watt. */
export function node22({ watt }) {
  return `${watt}/node_modules/node/bin/node`
}
