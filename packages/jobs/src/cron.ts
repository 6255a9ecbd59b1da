import { pause } from '@fastify-scale/kit'
import { CronExpressionParser } from 'cron-parser'
import { CronError } from './errors.ts'

/** The moments of a cron text. */
export interface Schedule {
  /** The first tick after a moment, in ms since 1970; `undefined` where there is none any more. */
  next(after: number): number | undefined
  /** The last tick before a moment. */
  previous(before: number): number | undefined
}

/** @throws SCALE_JOBS_CRON */
export function parseCron(name: string, pattern: string, timezone = 'UTC'): Schedule {
  try {
    // The parser would take an unknown zone and fail later.
    new Intl.DateTimeFormat('en', { timeZone: timezone })
  } catch {
    throw new CronError(
      `option 'timezone' of cron job '${name}' must be like 'Europe/Berlin'; '${timezone}' is not known`,
    )
  }
  const fields = typeof pattern === 'string' ? pattern.trim().split(/\s+/).length : 0
  const at = (moment: number) => CronExpressionParser.parse(pattern, { currentDate: moment, tz: timezone })
  try {
    if (fields !== 5 && fields !== 6) throw new CronError('it has neither five fields nor six')
    at(0).next()
  } catch (error) {
    throw new CronError(`cron job '${name}' has '${String(pattern)}', which can't be read: ${(error as Error).message}`)
  }
  const orNone = (find: () => { getTime(): number }): number | undefined => {
    try {
      return find().getTime()
    } catch {
      return undefined
    }
  }
  return {
    next: (after) => orNone(() => at(after).next()),
    previous: (before) => orNone(() => at(before).prev()),
  }
}

export interface TickerOptions {
  schedule: Schedule
  /** Makes the job of one tick; every process does, and the queue keeps one. Rejecting, it is called again. */
  fire: (tick: number) => Promise<void>
  onError: (error: unknown, tick: number) => void
  /** A tick that could not be made for so long is given up, in ms. Default 60,000. */
  patience?: number
  /** ms since 1970. Default `Date.now`. */
  now?: () => number
}

export interface Ticker {
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>
}

// Longer waits are cut, so that a clock that was set is noticed.
const LONGEST_WAIT = 60_000

/**
 * Calls `fire` at each tick. Ticks that passed while this process could not look (a blocked event loop, a start just
 * after a tick) are made up for within `patience`.
 */
export function startTicker(options: TickerOptions): Ticker {
  const { schedule, fire, onError, patience = 60_000, now = Date.now } = options
  const stop = new AbortController()
  const underWay = new Set<Promise<void>>()

  async function make(tick: number): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        return await fire(tick)
      } catch (error) {
        if (now() - tick > patience) return onError(error, tick)
        await pause(100, stop.signal)
      }
    }
  }

  async function run(): Promise<void> {
    // The processes of a cluster may all have started anew around a tick.
    const last = schedule.previous(now())
    let seen = last !== undefined && now() - last < patience ? last - 1 : now()
    while (!stop.signal.aborted) {
      const tick = schedule.next(seen)
      if (tick === undefined) return
      const wait = tick - now()
      if (wait > 0) {
        await pause(Math.min(wait, LONGEST_WAIT), stop.signal)
        continue
      }
      seen = tick
      if (-wait > patience) continue
      const work = make(tick).finally(() => underWay.delete(work))
      underWay.add(work)
    }
  }

  const running = run()
  return {
    async stop() {
      stop.abort()
      await running
      await Promise.all(underWay)
    },
  }
}
