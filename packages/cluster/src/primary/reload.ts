import { ReloadError } from '../errors.ts'
import type { Crew } from './crew.ts'
import type { DrainOutcome } from './life.ts'
import type { Slot } from './slot.ts'
import type { ReloadProgress, ReloadResult } from './types.ts'
import type { WorkerProcess } from './worker-process.ts'

export interface ReloadOptions {
  crew: Crew
  onProgress(progress: ReloadProgress | undefined): void
}

/**
 * Replaces the workers of the given slots, one after the other: the replacement is ready first, then the old one drains
 * and goes. Where a replacement does not come up, the rest stays as it was.
 */
export async function replaceSlots(slots: readonly Slot[], options: ReloadOptions): Promise<ReloadResult> {
  const { crew, onProgress } = options
  const began = performance.now()
  const sum = { replaced: 0, killed: 0, cut: 0, moved: 0 }
  const progress = (phase: ReloadProgress['phase'], slot: Slot): void =>
    onProgress({ done: sum.replaced, total: slots.length, phase, slot: slot.slot })
  const add = (outcome: DrainOutcome): void => {
    sum.replaced += 1
    sum.moved += outcome.moved
    sum.cut += outcome.cut
    sum.killed += outcome.killed ? 1 : 0
  }

  const retired: WorkerProcess[] = []

  async function bringUp(slot: Slot): Promise<void> {
    progress('starting', slot)
    try {
      await crew.ready(crew.fork(slot, 'next'))
    } catch (error) {
      throw new ReloadError(`slot ${slot.slot}: the new worker did not come up: ${(error as Error).message}`)
    }
  }

  async function takeOver(slot: Slot): Promise<void> {
    progress('draining', slot)
    const old = crew.swap(slot)
    slot.replacements += 1
    add(old ? await crew.drain(old, true) : { moved: 0, cut: 0, killed: false })
  }

  try {
    if (slots.some(({ current }) => (current?.beat?.upgraded ?? 0) > 0)) {
      // Sockets that live long: all replacements come up before the first old worker lets go, and none of the old is
      // sent a connection after that, so that no client is moved twice.
      for (const slot of slots) await bringUp(slot)
      for (const { current } of slots) {
        if (!current) continue
        crew.retire(current)
        retired.push(current)
      }
      for (const slot of slots) {
        // A replacement may have died while it waited for the others.
        if (!slot.next) await bringUp(slot)
        await takeOver(slot)
      }
    } else {
      for (const slot of slots) {
        await bringUp(slot)
        await takeOver(slot)
      }
    }
    return { ok: true, ...sum, ms: Math.round(performance.now() - began) }
  } catch (error) {
    await Promise.all(slots.flatMap(({ next }) => (next ? [crew.end(next)] : [])))
    for (const worker of retired) if (worker.state === 'ready') crew.reinstate(worker)
    // One that died meanwhile left its slot to the replacement.
    for (const slot of slots) if (!slot.current) crew.revive(slot, 0)
    return { ok: false, reason: (error as Error).message, ...sum, ms: Math.round(performance.now() - began) }
  } finally {
    onProgress(undefined)
  }
}
