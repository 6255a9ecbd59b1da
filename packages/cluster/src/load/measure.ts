import type { LauncherStatus } from '../status.ts'

/** One level of load, as it was measured. */
export interface Level {
  /** Workers of the launcher; absent where only a URL is known. */
  workers?: number
  /** Connections kept open by the load. */
  connections: number
  /** Requests answered per second. */
  rps: number
  /** Latencies in ms. */
  latency: { p50: number; p97: number; p99: number; max: number }
  /** Requests without an answer, or answered by 5xx. */
  failed: number
  /** Requests answered by 4xx: seldom what is to be measured. */
  refused?: number
  /** Of the busiest worker: most cores used (1 is one core), most resident bytes, longest event-loop delay in ms. */
  cpu?: number
  memory?: number
  memoryLimit?: number
  loopDelay?: number
}

/** Past these a level is marked: there is no room left for a peak. The same as the launcher's own red lines. */
export const RED_CPU = 0.75
export const RED_MEMORY = 0.85

/** The red lines that a level crosses. */
export function redLines(level: Level): ('cpu' | 'memory')[] {
  const crossed: ('cpu' | 'memory')[] = []
  if ((level.cpu ?? 0) > RED_CPU) crossed.push('cpu')
  if (level.memory !== undefined && level.memoryLimit && level.memory / level.memoryLimit > RED_MEMORY)
    crossed.push('memory')
  return crossed
}

/** What the busiest worker showed over several looks. CPU is the median of looks, so that one spike is not a level. */
export function busiest(samples: LauncherStatus[]): Pick<Level, 'cpu' | 'memory' | 'memoryLimit' | 'loopDelay'> {
  const slots = samples.flatMap((sample) => sample.slots)
  const most = (pick: (slot: (typeof slots)[number]) => number | undefined): number | undefined => {
    const values = slots.flatMap((slot) => pick(slot) ?? [])
    return values.length > 0 ? Math.max(...values) : undefined
  }
  const perLook = samples.flatMap((sample) => {
    const used = sample.slots.flatMap(({ cpu }) => cpu ?? [])
    return used.length > 0 ? [Math.max(...used)] : []
  })
  return {
    cpu: perLook.toSorted((a, b) => a - b)[perLook.length >> 1],
    memory: most(({ memory }) => memory),
    memoryLimit: slots[0]?.memoryLimit,
    loopDelay: most(({ loopDelay }) => loopDelay),
  }
}

export interface Growth {
  workers: number
  /** Most requests per second at any level without failures. */
  rps: number
  /** Of one worker's. */
  times: number
}

/** How throughput grows with workers. */
export function growth(levels: Level[]): Growth[] {
  const best = new Map<number, number>()
  for (const { workers, rps, failed } of levels)
    if (workers !== undefined && failed === 0) best.set(workers, Math.max(best.get(workers) ?? 0, rps))
  const rows = [...best].toSorted(([a], [b]) => a - b)
  const base = rows[0]
  return base ? rows.map(([workers, rps]) => ({ workers, rps, times: rps / base[1] })) : []
}
