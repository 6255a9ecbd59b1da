import { oneLine } from '@fastify-scale/kit'
import type { CrewOptions } from './crew.ts'
import type { RespawnDecision } from './respawn.ts'
import { type Slot, slotsOf } from './slot.ts'
import type { ExitInfo } from './types.ts'
import type { WorkerProcess } from './worker-process.ts'

/** Gives slots that have no worker one again. */
export interface Revival {
  /** Forks the first worker of a slot. Where that throws, it is tried again like a start that failed. */
  populate(slot: Slot): WorkerProcess
  /** The only worker of a slot has ended, and should not have. */
  startAgain(slot: Slot, worker: WorkerProcess, exit: ExitInfo): void
  /** Starts a worker in a slot that has none, after a while. */
  revive(slot: Slot, delay: number): void
}

export interface RevivalOptions extends Pick<CrewOptions, 'policy' | 'notices' | 'running'> {
  slots: readonly Slot[]
  fork(slot: Slot): WorkerProcess
  /** Resolves when it is ready, however long servers are away that it needs. */
  untilReady(worker: WorkerProcess): Promise<void>
}

export function createRevival({ slots, fork, untilReady, policy, notices, running }: RevivalOptions): Revival {
  function startAgain(slot: Slot, worker: WorkerProcess, exit: ExitInfo): void {
    slot.restarts += 1
    const decision =
      worker.readyAt === undefined
        ? policy.failedToStart()
        : policy.crashed(slot.slot, performance.now() - worker.readyAt)
    notices.crashed(worker, exit, decision.delay)
    tryLater(slot, exit.reason, decision)
  }

  function populate(slot: Slot): WorkerProcess {
    try {
      return fork(slot)
    } catch (error) {
      if (running()) {
        const decision = policy.failedToStart()
        notices.notForked(slot.slot, oneLine(error), decision.delay)
        tryLater(slot, oneLine(error), decision)
      }
      throw error
    }
  }

  function tryLater(slot: Slot, reason: string, { delay, opened, hopeless }: RespawnDecision): void {
    const web = slotsOf(slots, 'web')
    const serving = web.filter(({ current }) => current?.state === 'ready').length
    // Also later, when the last one that served is gone; one that starts may only wait for a server that is away.
    const last = hopeless && slot.role === 'web' && web.every(({ current, next }) => !current && !next)
    if (opened || last) notices.cannotStart(reason, serving)
    revive(slot, delay)
  }

  function revive(slot: Slot, delay: number): void {
    clearTimeout(slot.respawn)
    if (!running()) return
    slot.respawn = setTimeout(() => {
      slot.respawn = undefined
      if (!running() || slot.current || slot.next || !slots.includes(slot)) return
      let worker: WorkerProcess
      try {
        worker = populate(slot)
      } catch {
        // It is tried again.
        return
      }
      void untilReady(worker).catch(() => undefined)
    }, delay)
  }

  return { populate, startAgain, revive }
}
