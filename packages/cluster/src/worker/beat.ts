import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { LauncherLink } from '../link.ts'
import type { Beat } from '../protocol.ts'
import type { Connections } from './connections.ts'

/** How often a worker says that it lives, in ms. */
const BEAT = 1_000

/** Measures the event loop and sends a beat every second. Ends with the process. */
export function startBeat(
  send: (beat: Beat) => void,
  connections: () => Connections | undefined,
  stats: () => ReturnType<NonNullable<LauncherLink['stats']>> | undefined,
): void {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  let last: EventLoopUtilization = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const since = performance.eventLoopUtilization(now, last)
    last = now
    const tracked = connections()
    const counted = stats()
    send({
      elu: round(since.utilization, 3),
      // The histogram measures its own timer, which is never early.
      delay: round(Math.max(0, (delay.count ? delay.percentile(99) : 0) / 1e6 - 20), 2),
      heap: process.memoryUsage().heapUsed,
      connections: tracked?.size ?? 0,
      idle: tracked?.idle() ?? 0,
      upgraded: tracked?.upgraded() ?? 0,
      requests: counted?.requests ?? 0,
      aborted: counted?.aborted ?? 0,
      ...(counted?.p99 === undefined ? {} : { p99: counted.p99 }),
    })
    delay.reset()
  }, BEAT)
  timer.unref()
}

/**
 * Says that the event loop lives in between, where the launcher would take the time from beat to beat for a hang. The
 * beats stay as they are: what they measure is of a second. Ends with the process.
 */
export function startPulse(send: () => void, hangTimeout: number): void {
  const every = hangTimeout / 4
  if (every > 0 && every < BEAT) setInterval(send, every).unref()
}

function round(value: number, digits: number): number {
  const factor = 10 ** digits
  return Math.round((Number.isFinite(value) ? value : 0) * factor) / factor
}
