/** What all processes of the cluster use now. */
export interface Usage {
  /** Cores. */
  cpu: number
  /** Share of the memory granted that is used, 0 to 1. */
  memory: number
  /** Resident memory of each worker that serves, in bytes, by id. */
  workers: ReadonlyMap<number, number>
}

export interface RedLineRules {
  /** Share of the cores granted, 0 to 1. */
  cpu: number
  /** Share of the memory granted, 0 to 1. */
  memory: number
  /** Resident memory of one worker in bytes. */
  maxMemory: number | undefined
  /** How long a line must be crossed until it counts, in ms. */
  after: number
}

export interface RedLineState {
  /** In words, for people; empty where all is well. */
  warnings: string[]
  /** Lines that were crossed or left since the look before. */
  changes: { line: string; crossed: boolean; message: string }[]
  /** The worker that should be replaced, by id. */
  replace: number | undefined
}

/**
 * Watches lines that should not be crossed for long. Memory past its line has the biggest worker replaced, if it is
 * bigger than its share: that of others can't be given back.
 */
export function createRedLines(
  rules: RedLineRules,
  granted: { cpus: number; memory: number },
  now: () => number = () => performance.now(),
): { look(usage: Usage): RedLineState } {
  const since = new Map<string, number>()
  const crossed = new Set<string>()
  let replacedAt = Number.NEGATIVE_INFINITY

  return {
    look({ cpu, memory, workers }) {
      const time = now()
      const state: RedLineState = { warnings: [], changes: [], replace: undefined }

      function watch(line: string, over: boolean, message: string): boolean {
        if (!over) {
          since.delete(line)
          if (crossed.delete(line)) state.changes.push({ line, crossed: false, message })
          return false
        }
        const from = since.get(line) ?? time
        since.set(line, from)
        if (time - from < rules.after) return false
        if (!crossed.has(line)) state.changes.push({ line, crossed: true, message })
        crossed.add(line)
        state.warnings.push(message)
        return true
      }

      const ofCpu = granted.cpus > 0 ? cpu / granted.cpus : 0
      watch(
        'cpu',
        ofCpu >= rules.cpu,
        `cpu: ${percent(ofCpu)} of ${granted.cpus} cores, red line ${percent(rules.cpu)}`,
      )
      const tight = watch(
        'memory',
        memory >= rules.memory,
        `memory: ${percent(memory)} of ${megabytes(granted.memory)}, red line ${percent(rules.memory)}`,
      )
      const [biggest, size = 0] = [...workers].sort((a, b) => b[1] - a[1])[0] ?? []
      const tooBig =
        rules.maxMemory !== undefined &&
        watch(
          'worker',
          size > rules.maxMemory,
          `memory: a worker has ${megabytes(size)}, the most allowed is ${megabytes(rules.maxMemory ?? 0)}`,
        )
      const share = (granted.memory * rules.memory) / Math.max(1, workers.size)
      // One at a time, and what its replacement saves is given time to show.
      if ((tooBig || (tight && size > share)) && time - replacedAt >= rules.after) {
        replacedAt = time
        state.replace = biggest
      }
      return state
    },
  }
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`
}
