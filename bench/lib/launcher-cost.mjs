import { cpuOf } from './launcher-round.mjs'
import { loadWithWrk } from './load.mjs'
import { startLauncher } from './launchers.mjs'

const CONNECTIONS = 64
const WARM_SECONDS = 3
const SECONDS = 2

/**
 * CPU per request of one launcher over another, for each of `paths` (`{ name: path }`): both are loaded in the same
 * seconds, so that what else the machine does, it does to both. Whichever is started last costs some percent more, so
 * they are started in both orders, and the geometric mean counts. What is left are differences between one start of a
 * process and the next, which only many rounds even out.
 */
export async function costOver(base, one, options) {
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
