import { readLimits } from '../limits/limits.ts'
import type { WorkerRange } from '../options.ts'
import { createAutoscaler } from './autoscale.ts'
import { createRedLines, type RedLineRules } from './red-lines.ts'
import { slotsOf } from './slot.ts'
import type { Primary } from './types.ts'
import { createUsageMeter } from './usage.ts'

export interface GovernorOptions {
  primary: Primary
  range: WorkerRange
  redLines: RedLineRules
  warn(message: string): void
  info(message: string): void
}

/** Looks at the cluster every few seconds: how many workers it should have, and whether a red line is crossed. */
export interface Governor {
  /** What is past a red line now. */
  warnings(): string[]
  stop(): void
}

/** ms between two looks: often where event loops decide, else as often as red lines need, since a look costs a few reads of /proc. */
function intervalOf(scales: boolean, after: number): number {
  return scales ? 1_000 : Math.min(5_000, Math.max(250, Math.floor(after / 6)))
}

export function startGovernor({ primary, range, redLines, warn, info }: GovernorOptions): Governor {
  const limits = readLimits()
  const lines = createRedLines(redLines, limits)
  const scaler = range.max > range.min ? createAutoscaler(range) : undefined
  const measure = createUsageMeter(primary, limits)
  let warnings: string[] = []
  let busy = false

  async function act(): Promise<void> {
    const { warnings: now, changes, replace } = lines.look(measure())
    warnings = now
    for (const { crossed, message } of changes) (crossed ? warn : info)(crossed ? message : `well again: ${message}`)
    const slot = primary.slots.find(({ worker }) => worker?.id === replace && replace !== undefined)
    if (slot) {
      warn(`worker ${slot.slot} is replaced to give its memory back`)
      await primary.restart(slot.slot)
    }
    if (!scaler || primary.reloading) return
    const web = slotsOf(primary.slots, 'web')
    const serving = web.flatMap(({ worker }) => (worker?.state === 'ready' && worker.beat ? [worker.beat.elu] : []))
    // While some are still coming up, what the others do says little.
    if (serving.length < web.length) return
    const wanted = scaler.look(serving)
    if (wanted !== web.length) await primary.scale(wanted)
  }

  const timer = setInterval(
    () => {
      if (busy || primary.state !== 'running') return
      busy = true
      act()
        .catch((error: Error) => warn(error.message))
        .finally(() => (busy = false))
    },
    intervalOf(scaler !== undefined, redLines.after),
  )
  return { warnings: () => warnings, stop: () => clearInterval(timer) }
}
