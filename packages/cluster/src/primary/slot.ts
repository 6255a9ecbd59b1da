import type { ExitInfo, SlotView, WorkerHandle } from './types.ts'
import type { WorkerProcess } from './worker-process.ts'

/** One place in the cluster. At rest `current` serves; while it is replaced `next` starts or an old one leaves. */
export interface Slot extends SlotView {
  current: WorkerProcess | undefined
  next: WorkerProcess | undefined
  readonly leaving: Set<WorkerProcess>
  restarts: number
  replacements: number
  lastExit: ExitInfo | undefined
  /** Of the next worker to be forked. */
  generation: number
  /** Waits to start a worker again. */
  respawn: NodeJS.Timeout | undefined
}

export function createSlot(slot: number, role: string): Slot {
  return {
    slot,
    role,
    current: undefined,
    next: undefined,
    leaving: new Set(),
    restarts: 0,
    replacements: 0,
    lastExit: undefined,
    generation: 0,
    respawn: undefined,
    get worker(): WorkerHandle | undefined {
      return this.current
    },
    get other(): WorkerHandle | undefined {
      return this.next ?? [...this.leaving].at(-1)
    },
  }
}

/** All processes of a slot. */
export function processesOf({ current, next, leaving }: Slot): WorkerProcess[] {
  return [...leaving, ...(current ? [current] : []), ...(next ? [next] : [])]
}

export function slotsOf<T extends { role: string }>(slots: readonly T[], role: string): T[] {
  return slots.filter((slot) => slot.role === role)
}

/** The smallest number that no slot has. */
export function freeNumber(slots: readonly Slot[]): number {
  for (let number = 0; ; number++) if (!slots.some(({ slot }) => slot === number)) return number
}
