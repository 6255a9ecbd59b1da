import { backoff } from '@fastify-scale/kit'

/** What to do about a slot whose worker is gone. */
export interface RespawnDecision {
  /** ms until the next try. */
  delay: number
  /** True when the breaker has just opened: say so once. */
  opened: boolean
  /** True where a start failed and the breaker is open: there is no hope in the next one either. */
  hopeless: boolean
}

/** Decides when a crashed worker is started again. One for the whole launcher: an app that can't start fails in every slot. */
export interface RespawnPolicy {
  /** True while no try is made but one now and then. */
  readonly open: boolean
  /** A worker ended before it was ready. */
  failedToStart(): RespawnDecision
  /** A worker that had been ready ended after `uptime` ms. */
  crashed(slot: number, uptime: number): RespawnDecision
  /** A worker became ready. */
  succeeded(): void
}

/** Tries in a row that may fail before the breaker opens. */
export const BREAKER_FAILURES = 5
/** While the breaker is open one try is made this often, in ms. */
export const BREAKER_RETRY = 30_000
/** A worker that served this long, in ms, starts with a clean record. */
const STABLE = 10_000

export function createRespawnPolicy(random: () => number = Math.random): RespawnPolicy {
  let failures = 0
  let open = false
  const crashes = new Map<number, number>()
  return {
    get open() {
      return open
    },
    failedToStart() {
      failures += 1
      const opened = !open && failures >= BREAKER_FAILURES
      open ||= opened
      return {
        delay: open ? backoff(1, BREAKER_RETRY, BREAKER_RETRY, random) : backoff(failures, 500, 8_000, random),
        opened,
        hopeless: open,
      }
    },
    crashed(slot, uptime) {
      const count = uptime >= STABLE ? 1 : (crashes.get(slot) ?? 0) + 1
      crashes.set(slot, count)
      // The first one is replaced at once. One that keeps crashing did serve in between: a second's pause at most.
      return { delay: count === 1 ? 0 : backoff(count - 1, 50, 1_000, random), opened: false, hopeless: false }
    },
    succeeded() {
      failures = 0
      open = false
    },
  }
}
