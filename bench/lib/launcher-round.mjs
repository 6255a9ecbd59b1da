import { sampleProcesses } from '@fastify-scale/cluster/proc'
import { APPS } from './apps.mjs'
import { loadWithWrk } from './load.mjs'
import { launcherTools, memoryOf, startLauncher } from './launchers.mjs'

/**
 * One round of a launcher: started from nothing, memory looked at after the load, and for each of `paths`
 * (`{ name: path }`) a warm-up and a measured load. CPU is of all its processes, in ms per 1,000 requests, under
 * `cpu<name>`; likewise `rps` and `p99`.
 */
export async function launcherRound(kind, { paths, connections = 64, warmup = 2, seconds = 3, headers, ...options }) {
  const launcher = await startLauncher(kind, { ...options, path: Object.values(paths)[0] })
  try {
    const result = { startMs: launcher.startMs, failures: 0 }
    for (const [name, path] of Object.entries(paths)) {
      const url = launcher.url + path
      await loadWithWrk(url, { connections, headers, seconds: warmup })
      const before = cpuOf(launcher)
      const load = await loadWithWrk(url, { connections, headers, seconds })
      result[`cpu${name}`] = ((cpuOf(launcher) - before) * 1e6) / load.requests
      result[`rps${name}`] = load.rps
      result[`p99${name}`] = load.p99
      result.failures += load.failures
    }
    return { ...result, ...memoryOf(launcher) }
  } finally {
    await launcher.stop()
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

/** Read in the worker's code; not measured one by one. */
export const LEFT =
  "What is left for each request are two listeners that Fastify adds to a response wherever there is a logger (a cluster with Fastify's logger has them too), and with metrics one hook and two readings of the clock."

const NOISE = 'The rounds differ by more than what is asked for.'
const LOGGED = "node:cluster, Fastify's logger"
const SILENT = 'fastify-scale, no logger'
const SILENT_ONLY = 'fastify-scale, no logger, no metrics'

/** What the costs of launchers are compared by: JSON and hello world, by so many workers. */
export function launcherComparison(workers) {
  const paths = { Hello: '/', Json: '/json' }
  const many = workers === 1 ? 'one worker' : `${workers} workers`
  return {
    title: `The launcher: ${many}`,
    question: `What does a launcher cost per request? Hello world and a JSON list of 3 KB, 64 kept-alive connections, ${many}; CPU of all server processes, the primary or daemon included. The same application with the same logger on both sides: none, or one that logs no request, which is what fastify-scale gives an application that does not say. Warmed up for two seconds, measured for three. Start is from nothing, pm2's daemon included, to the first answer. Memory is looked at after the load.`,
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
      { metric: 'cpuJson', contender: 'fastify-scale, no metrics', over: 'node:cluster', max: 1.02, why: LEFT },
      { metric: 'cpuJson', contender: 'fastify-scale', over: 'node:cluster', max: 1.05, why: LEFT },
      { metric: 'cpuHello', contender: 'fastify-scale, no metrics', over: 'node:cluster', max: 1.02, why: LEFT },
      { metric: 'cpuHello', contender: 'fastify-scale', over: 'node:cluster', max: 1.05, why: LEFT },
      // The same application with the same logger on both sides: none, and Fastify's.
      { metric: 'cpuJson', contender: SILENT_ONLY, over: 'node:cluster', max: 1.02, why: NOISE },
      { metric: 'cpuJson', contender: SILENT, over: 'node:cluster', max: 1.05, why: NOISE },
      { metric: 'cpuHello', contender: SILENT_ONLY, over: 'node:cluster', max: 1.02, why: NOISE },
      { metric: 'cpuHello', contender: SILENT, over: 'node:cluster', max: 1.05, why: NOISE },
      { metric: 'cpuJson', contender: 'fastify-scale, no metrics', over: LOGGED, max: 1.02, why: NOISE },
      { metric: 'cpuJson', contender: 'fastify-scale', over: LOGGED, max: 1.05, why: NOISE },
      { metric: 'cpuHello', contender: 'fastify-scale, no metrics', over: LOGGED, max: 1.02, why: NOISE },
      { metric: 'cpuHello', contender: 'fastify-scale', over: LOGGED, max: 1.05, why: NOISE },
      { metric: 'primaryMb', contender: 'fastify-scale', max: 60, unit: 'MB' },
    ],
    setup: async () => ({ tools: await launcherTools() }),
    contenders: ({ tools }) => ({
      'node:cluster': () => launcherRound('bare', { workers, paths }),
      [SILENT_ONLY]: () => launcherRound('ours', { workers, paths, app: APPS.silent }),
      [SILENT]: () => launcherRound('ours-metrics', { workers, paths, app: APPS.silent }),
      [LOGGED]: () => launcherRound('bare-logger', { workers, paths }),
      'fastify-scale, no metrics': () => launcherRound('ours', { workers, paths }),
      'fastify-scale': () => launcherRound('ours-metrics', { workers, paths }),
      'pm2 7': () => launcherRound('pm2', { workers, paths, tools }),
      'Watt 3, Node 22': () => launcherRound('watt', { workers, paths, tools }),
      'fastify-scale, Node 22': () => launcherRound('ours-metrics', { workers, paths, node: node22(tools) }),
    }),
  }
}

/** The Node that came with Watt. */
export function node22({ watt }) {
  return `${watt}/node_modules/node/bin/node`
}
