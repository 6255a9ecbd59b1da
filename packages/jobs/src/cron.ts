import { pause } from '@fastify-scale/kit'
import { CronExpressionParser } from 'cron-parser'
import { CronError } from './errors.ts'

/** The moments of a cron text. */
export interface Schedule {
  /** The text, and its zone. */
  readonly text: string
  /** The first tick after a moment, in ms since 1970; `undefined` where there is none any more. */
  next(after: number): number | undefined
  /**
   * What a tick is known by. Where clocks are set back an hour comes twice; which of its ticks `next` gives depends on
   * where it begins. With hours named in the text both are one, the first; without, each hour counts.
   */
  identity(tick: number): number
  /** Whether ticks that are hours apart can be one. */
  readonly named: boolean
}

/** Clocks are set back by half an hour (Lord Howe), an hour, or two (Troll): no zone is known to do more. */
export const LONGEST_SHIFT: number = 3 * 3_600_000
const SHIFT_STEP = 1_800_000

/** @throws SCALE_JOBS_CRON */
export function parseCron(name: string, pattern: string, timezone = 'UTC'): Schedule {
  let clock: Intl.DateTimeFormat
  try {
    // The parser would take an unknown zone and fail later.
    clock = new Intl.DateTimeFormat('en', { timeZone: timezone, dateStyle: 'short', timeStyle: 'medium' })
  } catch {
    throw new CronError(
      `option 'timezone' of cron job '${name}' must be like 'Europe/Berlin'; '${timezone}' is not known`,
    )
  }
  const fields = typeof pattern === 'string' ? pattern.trim().split(/\s+/).length : 0
  // Without a seed, H is another time at each look.
  const at = (moment: number) =>
    CronExpressionParser.parse(pattern, { currentDate: moment, tz: timezone, hashSeed: name })
  let named: boolean
  try {
    if (fields !== 5 && fields !== 6) throw new CronError('it has neither five fields nor six')
    const first = at(0)
    first.next()
    named = first.fields.hour.values.length < 24
  } catch (error) {
    throw new CronError(`cron job '${name}' has '${String(pattern)}', which can't be read: ${(error as Error).message}`)
  }
  return {
    text: `${pattern} ${timezone}`,
    named,
    next(after) {
      try {
        return at(after).next().getTime()
      } catch {
        return undefined
      }
    },
    identity(tick) {
      if (!named) return tick
      const time = clock.format(tick)
      for (let shift = LONGEST_SHIFT; shift > 0; shift -= SHIFT_STEP)
        if (clock.format(tick - shift) === time) return tick - shift
      return tick
    },
  }
}

export interface TickerOptions {
  schedule: Pick<Schedule, 'next'>
  /** Makes the job of one tick; every process does, and the queue keeps one. Rejecting, it is called again. */
  fire: (tick: number) => Promise<void>
  onError: (error: unknown, tick: number) => void
  /**
   * When the cron job was first known of; called with the moment of the start. Ticks of before are none of its own.
   * Rejecting, it is called again within `patience`. Default: long ago.
   */
  since?: (start: number) => Promise<number>
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
 * Calls `fire` at each tick. Ticks that passed while this process could not look (a blocked event loop, a start
 * after them) are made up for within `patience`, unless they are of before `since`.
 */
export function startTicker(options: TickerOptions): Ticker {
  const { schedule, fire, onError, since = async () => 0, patience = 60_000, now = Date.now } = options
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

  /** The moment from which ticks count. */
  async function begin(): Promise<number> {
    const start = now()
    while (!stop.signal.aborted && now() - start <= patience) {
      try {
        // No other process may have been there lately; what one has made is not made again.
        return Math.max(start - patience, Math.min(start, await since(start)) - 1)
      } catch {
        await pause(100, stop.signal)
      }
    }
    return start - 1
  }

  async function run(): Promise<void> {
    let seen = await begin()
    while (!stop.signal.aborted) {
      const tick = schedule.next(seen)
      if (tick === undefined) return
      const wait = tick - now()
      if (wait > 0) {
        await pause(Math.min(wait, LONGEST_WAIT), stop.signal)
        continue
      }
      if (-wait > patience) {
        // All that are too old in one step: after a night's sleep they are many.
        seen = Math.max(tick, now() - patience - 1)
        continue
      }
      seen = tick
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
