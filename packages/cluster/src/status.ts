import { hostname } from 'node:os'
import type { PlaceStatus } from './places.ts'
import type { ExitInfo, Primary, ReloadProgress, SlotView, WorkerState } from './primary/types.ts'
import type { CpuMeter, ProcSample } from './proc/sampler.ts'

/** What `fastify.cluster.status()` says about one launcher. */
export interface LauncherStatus {
  /** Unique to this run of the launcher. */
  id: string
  host: string
  name: string
  /** Of the launcher. */
  pid: number
  /** ms since 1970. */
  startedAt: number
  state: Primary['state']
  /** Where livez, readyz, metrics and status are served: `http://127.0.0.1:9100`. Absent where they are not. */
  admin?: string
  /** Set while a reload is going on. */
  reloading?: ReloadProgress
  slots: SlotStatus[]
  /** Which worker (by id) runs which singleton; those of shared values have names that begin with `shared:`. */
  singletons: PlaceStatus[]
  /** What is past a red line now. */
  warnings: string[]
}

/** One row of the status. */
export interface SlotStatus {
  slot: number
  role: string
  /** `gone` where the slot waits for a new worker. */
  state: WorkerState
  /** Restarts after crashes. */
  restarts: number
  /** Replacements by reloads. */
  replacements: number
  lastExit?: ExitInfo
  /** The worker's id. What follows is absent where the slot has no worker. */
  id?: number
  pid?: number
  generation?: number
  /** ms since the worker became ready; 0 before. */
  uptime?: number
  requestsPerSecond?: number
  /** ms; absent with metrics off, or where nothing was answered in the last second. */
  p99?: number
  /** Requests of this worker whose connection ended before they were answered in full. */
  aborted?: number
  connections?: { active: number; idle: number }
  /** Event-loop delay, 99th percentile, in ms. */
  loopDelay?: number
  /** Event-loop utilisation, 0 to 1. */
  utilization?: number
  /** Cores: 1 is one core, busy all the time. */
  cpu?: number
  /** Resident memory in bytes. */
  memory?: number
  /** A worker's share of what the machine or the container grants, in bytes. */
  memoryLimit?: number
}

/** Gathers the status of one launcher from beats and /proc. */
export interface StatusSource {
  read(): LauncherStatus
  stop(): void
}

export interface StatusOptions {
  id: string
  primary: Primary
  meter: CpuMeter
  sample(pid: number): ProcSample | undefined
  /** Memory granted to all workers together, in bytes. */
  memory: number
  singletons(): PlaceStatus[]
  warnings?: () => string[]
  /** Where the admin pages are. */
  admin?: () => string | undefined
  /** A monotonic clock, in ms. */
  now?: () => number
}

interface Measured {
  at: number
  requestsPerSecond?: number
  cpu?: number
  memory?: number
}

export function createStatus(options: StatusOptions): StatusSource {
  const { id, primary, meter, sample, memory, singletons, warnings, admin } = options
  const { now = () => performance.now() } = options
  const measured = new Map<number, Measured>()

  // Rates are measured from beat to beat, not from look to look: two people who look do not disturb each other.
  const onBeat: Parameters<typeof primary.events.on<'beat'>>[1] = (worker, beat) => {
    const at = now()
    const before = measured.get(worker.id)
    measured.set(worker.id, {
      at,
      requestsPerSecond: before ? Math.round((beat.requests * 1_000) / Math.max(1, at - before.at)) : undefined,
      cpu: meter.look(worker.pid),
      memory: sample(worker.pid)?.rss,
    })
  }
  const onExit: Parameters<typeof primary.events.on<'exit'>>[1] = (worker) => {
    measured.delete(worker.id)
    meter.keep(primary.workers().map((one) => one.pid))
  }
  primary.events.on('beat', onBeat)
  primary.events.on('exit', onExit)

  function row({ slot, role, worker, restarts, replacements, lastExit }: SlotView, count: number): SlotStatus {
    const base = { slot, role, restarts, replacements, ...(lastExit && { lastExit }) }
    if (!worker) return { ...base, state: 'gone' }
    const { beat } = worker
    const rates = measured.get(worker.id)
    return {
      ...base,
      state: worker.state,
      id: worker.id,
      pid: worker.pid,
      generation: worker.generation,
      uptime: worker.readyAt === undefined ? 0 : Math.round(now() - worker.readyAt),
      ...(beat && {
        p99: beat.p99,
        aborted: beat.aborted,
        connections: { active: beat.connections - beat.idle, idle: beat.idle },
        loopDelay: beat.delay,
        utilization: beat.elu,
      }),
      ...(rates && { requestsPerSecond: rates.requestsPerSecond, cpu: rates.cpu, memory: rates.memory }),
      memoryLimit: Math.floor(memory / Math.max(1, count)),
    }
  }

  return {
    read: () => ({
      id,
      host: hostname(),
      name: primary.name,
      pid: primary.pid,
      startedAt: primary.startedAt,
      state: primary.state,
      ...(admin?.() && { admin: admin() }),
      ...(primary.reloading && { reloading: primary.reloading }),
      slots: primary.slots.map((slot) => row(slot, primary.slots.length)),
      singletons: singletons(),
      warnings: warnings?.() ?? [],
    }),
    stop() {
      primary.events.off('beat', onBeat)
      primary.events.off('exit', onExit)
    },
  }
}

/** The status of a process that no launcher runs: a launcher with one slot. */
export function soloStatus(id: string, name: string, singletons: PlaceStatus[]): LauncherStatus {
  return {
    id,
    host: hostname(),
    name,
    pid: process.pid,
    startedAt: Math.round(performance.timeOrigin),
    state: 'running',
    slots: [
      {
        slot: 0,
        role: 'web',
        state: 'ready',
        restarts: 0,
        replacements: 0,
        id: 0,
        pid: process.pid,
        generation: 0,
        uptime: Math.round(performance.now()),
        memory: process.memoryUsage.rss(),
      },
    ],
    singletons,
    warnings: [],
  }
}
