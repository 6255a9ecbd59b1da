import { performance } from 'node:perf_hooks'
import type { HealthWorker } from './health/health.ts'

/** What `fastify.cluster.status()` says about one launcher. */
export interface LauncherStatus {
  /** Unique to this run of the launcher. */
  id: string
  host: string
  name: string
  pid: number
  /** ms since 1970. */
  startedAt: number
  state: 'starting' | 'running' | 'stopping'
  slots: SlotStatus[]
  /** Which worker (by id) runs which singleton; the names of shared values begin with `shared:`. */
  singletons: { name: string; holder: number | undefined; fencing: number }[]
}

/** One row of the status. */
export interface SlotStatus {
  slot: number
  role: string
  generation: number
  /** The worker's id. */
  id: number
  pid: number
  state: HealthWorker['state']
  /** ms since the worker became ready. */
  uptime: number
  restarts: number
  lastExit?: string
  requestsPerSecond?: number
  /** ms. */
  p99?: number
  connections?: { open: number; idle: number }
  /** Event-loop delay, 99th percentile, in ms. */
  loopDelay?: number
  /** Cores. */
  cpu?: number
  /** Resident memory and the share of the limit that a worker may use, in bytes. */
  memory?: number
  memoryLimit?: number
}

/** The status of a process that no launcher runs: one launcher with one slot. */
export function soloStatus(worker: {
  id: number
  slot: number
  role: string
  generation: number
}): Pick<LauncherStatus, 'slots' | 'state' | 'pid' | 'startedAt'> {
  return {
    pid: process.pid,
    startedAt: Math.round(performance.timeOrigin),
    state: 'running',
    slots: [
      {
        ...worker,
        pid: process.pid,
        state: 'ready',
        uptime: Math.round(performance.now()),
        restarts: 0,
        memory: process.memoryUsage.rss(),
      },
    ],
  }
}
