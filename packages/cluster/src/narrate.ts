import { oneLine } from '@fastify-scale/kit'
import type { Notices } from './primary/primary.ts'
import type { Primary } from './primary/types.ts'
import { plural, type Report, took } from './report.ts'

/** Tells operators, in a line each, what happens. */
function events(report: Report, primary: Primary, admin: string | undefined): void {
  const began = performance.now()
  let up = false
  primary.events.on('ready', (worker) => {
    if (up) return
    up = true
    const pages = admin ? `; admin pages on ${admin}` : ''
    report.info(`ready on ${primary.addresses.join(' and ')} after ${took(performance.now() - began)}${pages}`, {
      addresses: primary.addresses,
      admin,
      workerPid: worker.pid,
    })
  })
  primary.events.on('scale', (count) => report.info(plural(count, 'worker')))
  primary.events.on('progress', (progress) => {
    if (progress?.phase === 'starting')
      report.info(`reload: slot ${progress.slot}, ${progress.done + 1} of ${progress.total}`)
  })
  primary.events.on('reload', (result) => {
    if (!result.ok) return report.error(`reload given up, what served before still serves: ${result.reason}`, result)
    const forced =
      result.killed > 0
        ? `, ${plural(result.killed, 'worker')} killed at the deadline with ${plural(result.cut, 'connection')}`
        : ''
    report.info(`reloaded ${plural(result.replaced, 'worker')} in ${took(result.ms)}${forced}`, result)
  })
  primary.events.on('stopping', () => report.info('stopping: requests in flight are answered first'))
}

function notices(report: Report, fatal: (error: Error) => void): Notices {
  return {
    warn: report.warn,
    crashed(worker, exit, delay) {
      const again = delay === 0 ? 'starting another' : `starting another in ${took(delay)}`
      report.warn(`worker ${worker.slot} (pid ${worker.pid}) ended: ${exit.reason}; ${again}`, {
        worker: worker.slot,
        workerPid: worker.pid,
      })
    },
    notForked: (slot, reason, delay) =>
      report.warn(`worker ${slot} can't be started: ${reason}; next try in ${took(delay)}`, { worker: slot }),
    cannotStart: (reason, serving) =>
      report.error(
        `workers can't be started any more (${reason}); ${plural(serving, 'worker')} still serve, next try in 30 s or on reload`,
      ),
    corrupt: (worker, reason) =>
      report.error(
        `worker ${worker.slot} (pid ${worker.pid}) sent something that is no message (${reason}) and is replaced`,
      ),
    killed: (worker, after) =>
      report.warn(`worker ${worker.slot} (pid ${worker.pid}) was not drained after ${took(after)} and is killed`),
    hung: (worker, silent) =>
      report.error(
        `worker ${worker.slot} (pid ${worker.pid}) hangs: its event loop did not answer for ${took(silent)}; it is replaced`,
      ),
    internal: (error, event) =>
      report.error(`a listener of '${event}' failed: ${oneLine(error)}`, { stack: (error as Error).stack }),
    fatal(error) {
      report.error(oneLine(error))
      fatal(error)
    },
  }
}

export const narrate: { events: typeof events; notices: typeof notices } = { events, notices }
