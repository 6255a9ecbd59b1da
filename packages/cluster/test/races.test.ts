import { afterEach, describe, expect, it } from 'vitest'
import type { Crew } from '../src/primary/crew.ts'
import { createDispatcher } from '../src/primary/dispatcher.ts'
import type { NativeHandle } from '../src/primary/listener.ts'
import { replaceSlots } from '../src/primary/reload.ts'
import { createSlot, type Slot } from '../src/primary/slot.ts'
import type { WorkerProcess } from '../src/primary/worker-process.ts'
import { waitFor } from './helpers.ts'
import { type Launcher, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

it('a stop while workers are taken away still answers what they have', async () => {
  const launcher: Launcher = await startLauncher({ workers: '2' })
  cleanups.push(() => launcher.stop('SIGKILL'))
  const ask = async (path: string): Promise<{ slot: number }> => {
    const response = await fetch(`${launcher.url}${path}`, { headers: { connection: 'close' } })
    return (await response.json()) as { slot: number }
  }
  // They take turns: the request after one to slot 0 is slot 1's, which is the one that goes.
  await waitFor(async () => (await ask('/')).slot === 0, { interval: 1 })
  const slow = ask('/slow?ms=3000')
  await waitFor(async () => (await launcher.status()).slots.some((slot) => (slot.connections?.active ?? 0) > 0))
  const scaled = launcher.ask('scale', 1).catch(() => undefined)
  await waitFor(async () => (await launcher.status()).slots.length === 1)
  const ended = launcher.stop()
  expect(await slow).toMatchObject({ slot: 1 })
  expect(await ended).toBe(0)
  await scaled
})

it('a worker that is sent connections again has not forgotten those that are on their way to it', () => {
  const closed: string[] = []
  const sent: unknown[] = []
  const handle = (name: string): NativeHandle => ({ close: () => void closed.push(name) }) as unknown as NativeHandle
  const take = (one: unknown): boolean => sent.push(one) > 0
  const dispatcher = createDispatcher()
  dispatcher.add({ id: 1, slot: 0, take })
  const names = ['first', 'second', 'third', 'fourth']
  for (const name of names) dispatcher.accept({ handle: handle(name), idle: false })
  const ahead = sent.length
  expect(dispatcher.waiting).toBe(names.length - ahead)
  dispatcher.remove(1)
  dispatcher.add({ id: 1, slot: 0, take })
  // Nothing more before something was taken over, and then each is closed here when it was.
  expect(sent).toHaveLength(ahead)
  for (let taken = 1; taken <= names.length; taken++) {
    dispatcher.took(1, 1)
    expect(closed).toEqual(names.slice(0, taken))
  }
  expect(sent).toHaveLength(names.length)
})

describe('a reload where connections live long', () => {
  /** Slots with workers that are nothing but their state. */
  function fake(count: number): {
    slots: Slot[]
    crew: Crew
    serving: Set<number>
    log: string[]
    kill(id: number): void
  } {
    let lastId = 0
    const log: string[] = []
    const serving = new Set<number>()
    const slots = Array.from({ length: count }, (_, i) => createSlot(i, 'web'))
    const all: WorkerProcess[] = []
    const make = (slot: Slot): WorkerProcess => {
      const worker = { id: ++lastId, slot: slot.slot, state: 'starting', beat: { upgraded: 1 } } as WorkerProcess
      all.push(worker)
      return worker
    }
    const ready = async (worker: WorkerProcess): Promise<void> => {
      await Promise.resolve()
      if (worker.state === 'gone') throw new Error('is gone')
      worker.state = 'ready'
      serving.add(worker.id)
    }
    const kill = (id: number): void => {
      const worker = all.find((one) => one.id === id) as WorkerProcess
      worker.state = 'gone'
      serving.delete(id)
      const slot = slots[worker.slot] as Slot
      if (slot.current === worker) slot.current = undefined
      if (slot.next === worker) slot.next = undefined
    }
    for (const slot of slots) {
      slot.current = make(slot)
      slot.current.state = 'ready'
      serving.add(slot.current.id)
    }
    const crew = {
      slots,
      ready,
      fork(slot: Slot, place: 'current' | 'next') {
        const worker = make(slot)
        slot[place] = worker
        log.push(`fork ${slot.slot}`)
        return worker
      },
      swap(slot: Slot) {
        const old = slot.current
        slot.current = slot.next
        slot.next = undefined
        return old
      },
      async drain(worker: WorkerProcess) {
        log.push(`drain ${worker.slot}`)
        serving.delete(worker.id)
        worker.state = 'gone'
        return { moved: 0, cut: 0, killed: false }
      },
      async end(worker: WorkerProcess) {
        kill(worker.id)
      },
      retire: (worker: WorkerProcess) => void serving.delete(worker.id),
      reinstate: (worker: WorkerProcess) => void serving.add(worker.id),
      revive: (slot: Slot) => void log.push(`revive ${slot.slot}`),
    } as unknown as Crew
    return { slots, crew, serving, log, kill }
  }

  it('brings up again a replacement that died while the others came up', async () => {
    const { slots, crew, serving, kill, log } = fake(2)
    let killed = false
    const result = await replaceSlots(slots, {
      crew,
      onProgress(progress) {
        // The first one's replacement is up, the second one's is being started.
        if (progress?.phase === 'starting' && progress.slot === 1 && !killed) {
          killed = true
          kill(slots[0]?.next?.id ?? 0)
        }
      },
    })
    expect(result.ok).toBe(true)
    expect(log.filter((line) => line === 'fork 0')).toHaveLength(2)
    for (const slot of slots) expect(slot.current?.state).toBe('ready')
    expect(serving.size).toBe(2)
  })

  it('gives connections to the old ones again where it is given up after all', async () => {
    const { slots, crew, serving, kill, log } = fake(2)
    const { fork } = crew
    const result = await replaceSlots(slots, {
      crew: {
        ...crew,
        fork(slot, place) {
          const worker = fork(slot, place)
          if (log.filter((line) => line === `fork ${slot.slot}`).length > 1) worker.state = 'gone'
          return worker
        },
      },
      onProgress(progress) {
        if (progress?.phase === 'draining' && progress.slot === 0) kill(slots[1]?.next?.id ?? 0)
      },
    })
    expect(result.ok).toBe(false)
    expect(slots.map((slot) => slot.current?.state)).toEqual(['ready', 'ready'])
    expect(serving).toEqual(new Set(slots.map((slot) => slot.current?.id)))
  })
})
