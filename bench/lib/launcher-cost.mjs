import { APPS } from './apps.mjs'
import { SILENT, SILENT_ONLY, cpuOf } from './launcher-round.mjs'
import { loadWithWrk } from './load.mjs'
import { startLauncher } from './launchers.mjs'

const CONNECTIONS = 64
const WARM_SECONDS = 3
const SECONDS = 2

const paths = { hello: '/', json: '/json' }
const CONTROL = 'node:cluster, once more'
const UNASKED = 'fastify-scale over no logger'
const UNASKED_ONLY = `${UNASKED}, no metrics`
const LEFT =
  "fastify-scale gives an application that does not say a logger, which logs no request; Fastify adds two listeners to each response wherever there is one (a cluster with Fastify's logger has them too)."

const NOISE = 'One start of the same process differs from the next by up to a tenth.'

const goals = (contender, max, why = NOISE) =>
  Object.keys(paths).map((metric) => ({ metric, contender, max, unit: 'x', why }))

/** What a request costs over node:cluster, by so many workers. */
export function launcherCost(workers) {
  const many = workers === 1 ? 'one worker' : `${workers} workers`
  return {
    title: `The launcher: cost over node:cluster, ${many}`,
    question: `How much CPU does a request take over bare node:cluster, which is 1? Hello world and a JSON list of 3 KB, ${many}, 64 kept-alive connections each; CPU of all server processes. Both are loaded in the same two seconds, after three to warm up; every round starts them anew, twice: in one order and in the other. How far one start differs from the next shows the row of node:cluster over itself. The same application with the same logger on both sides: none, or Fastify's; and the launcher's default over none.`,
    base: CONTROL,
    metrics: [
      { key: 'hello', label: 'hello world, x', better: 'low' },
      { key: 'json', label: 'JSON, x', better: 'low', chart: true },
    ],
    goals: [
      ...goals(SILENT_ONLY, 1.02),
      ...goals(SILENT, 1.05),
      ...goals('fastify-scale, no metrics', 1.02),
      ...goals('fastify-scale', 1.05),
      ...goals(UNASKED_ONLY, 1.02, LEFT),
      ...goals(UNASKED, 1.05, LEFT),
    ],
    contenders() {
      const over = (base, kind, app) => () => costOver([base, {}], [kind, app ? { app } : {}], { paths, workers })
      return {
        [CONTROL]: over('bare', 'bare'),
        [SILENT_ONLY]: over('bare', 'ours', APPS.silent),
        [SILENT]: over('bare', 'ours-metrics', APPS.silent),
        'fastify-scale, no metrics': over('bare-logger', 'ours'),
        'fastify-scale': over('bare-logger', 'ours-metrics'),
        [UNASKED_ONLY]: over('bare', 'ours'),
        [UNASKED]: over('bare', 'ours-metrics'),
      }
    },
  }
}

/**
 * CPU per request of one launcher over another, for each of `paths` (`{ name: path }`): both are loaded in the same
 * seconds, so that what else the machine does, it does to both. Whichever is started last costs some percent more, so
 * they are started in both orders, and the geometric mean counts. What is left are differences between one start of a
 * process and the next, which only many rounds even out.
 */
async function costOver(base, one, options) {
  const last = await ratios([base, one], options)
  const first = await ratios([one, base], options)
  const result = { failures: last.failures + first.failures }
  for (const name of Object.keys(options.paths)) result[name] = Math.sqrt(last[name] / first[name])
  return result
}

/** CPU per request of the second over the first. */
async function ratios(pair, { paths, workers }) {
  const launchers = []
  const both = (use) => Promise.all(launchers.map(use))
  try {
    for (const [kind, options] of pair) launchers.push(await startLauncher(kind, { workers, ...options }))
    const load = (path, seconds) => both(({ url }) => loadWithWrk(url + path, { connections: CONNECTIONS, seconds }))
    const result = { failures: 0 }
    for (const [name, path] of Object.entries(paths)) {
      await load(path, WARM_SECONDS)
      const before = launchers.map(cpuOf)
      const loads = await load(path, SECONDS)
      const [first, second] = loads.map(({ requests }, i) => (cpuOf(launchers[i]) - before[i]) / requests)
      result[name] = second / first
      for (const { failures } of loads) result.failures += failures
    }
    return result
  } finally {
    await both((launcher) => launcher.stop())
  }
}
