import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers'
import type { Finding } from './findings.ts'
import { framesOf, packageIn, placeIn, stackHere } from './frames.ts'

/** Packages whose timers are meant to fire once, and fire once per worker. */
const SCHEDULERS = new Set([
  'node-cron',
  'cron',
  'croner',
  'node-schedule',
  'toad-scheduler',
  'bree',
  'later',
  '@fastify/schedule',
])

/**
 * Reports intervals that the app itself starts, and timers of schedulers. An interval that begins while `inRequest()`
 * names a request is that client's, such as the heartbeat of a stream. Call it before the app is loaded.
 */
export function watchTimers(
  root: string,
  inRequest: () => string | undefined,
  report: (finding: Finding) => void,
): void {
  const { setInterval, setTimeout } = globalThis

  function look(kind: 'interval' | 'timeout', ms: unknown): void {
    const stack = stackHere()
    // What runs inside cluster.singleton() runs in one worker.
    if (framesOf(stack).some(({ file }) => /\/(?:dist|src)\/singleton\.[jt]s$/.test(file))) return
    const by = packageIn(stack)
    const at = placeIn(root, stack)
    if (by !== undefined && SCHEDULERS.has(by))
      report({ kind: 'scheduler', message: `${by} would fire once in every worker`, at })
    else if (kind === 'interval' && inRequest() === undefined && at !== undefined && startedBy(root, stack))
      report({ kind: 'interval', message: `an interval of ${Number(ms) || 1} ms would fire once in every worker`, at })
  }

  const watchedInterval = Object.assign((...args: Parameters<typeof setInterval>) => {
    look('interval', args[1])
    return setInterval(...args)
  }, setInterval)
  const watchedTimeout = Object.assign((...args: Parameters<typeof setTimeout>) => {
    look('timeout', args[1])
    return setTimeout(...args)
  }, setTimeout)
  globalThis.setInterval = timers.setInterval = watchedInterval as typeof setInterval
  globalThis.setTimeout = timers.setTimeout = watchedTimeout as typeof setTimeout
  syncBuiltinESMExports()
}

/** True where the app's own code is what called setInterval, and not a library that the app called. */
function startedBy(root: string, stack: string): boolean {
  const first = framesOf(stack).find(
    ({ file }) => !file.startsWith('node:') && !/\/doctor\/watch-timers\.[jt]s$/.test(file),
  )
  return first !== undefined && first.file.startsWith(root) && !first.file.includes('/node_modules/')
}
