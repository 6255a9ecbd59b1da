import { describe, expect, type Mock, test, vi } from 'vitest'
import { createAutoscaler } from '../src/primary/autoscale.ts'
import { type Connection, createDispatcher, type Target } from '../src/primary/dispatcher.ts'
import type { NativeHandle } from '../src/primary/listener.ts'
import { createRedLines } from '../src/primary/red-lines.ts'
import { BREAKER_FAILURES, createRespawnPolicy } from '../src/primary/respawn.ts'
import { createStickyDispatcher } from '../src/primary/sticky/dispatcher.ts'
import { createWatchdog } from '../src/primary/watchdog.ts'

describe('the dispatcher', () => {
  const connection = (name: string): { name: string; close: Mock<() => void> } => ({ name, close: vi.fn<() => void>() })
  function worker(id: number): Target & { got: string[]; alive: boolean } {
    const self = {
      id,
      slot: id,
      got: [] as string[],
      alive: true,
      take({ handle }: Connection) {
        if (!self.alive) return false
        self.got.push((handle as NativeHandle & { name: string }).name)
        return true
      },
    }
    return self
  }

  test('gives connections in turn, two ahead at most, and closes ours when they are taken over', () => {
    const dispatcher = createDispatcher()
    const [a, b] = [worker(1), worker(2)]
    dispatcher.add(a)
    dispatcher.add(b)
    const all = ['1', '2', '3', '4', '5', '6', '7'].map(connection)
    for (const one of all) dispatcher.accept({ handle: one, idle: false })
    expect([a.got, b.got, dispatcher.waiting]).toEqual([['1', '3'], ['2', '4'], 3])
    dispatcher.took(2, 1)
    expect([a.got, b.got, dispatcher.waiting]).toEqual([['1', '3'], ['2', '4', '5'], 2])
    dispatcher.took(2, 2)
    expect([a.got, b.got, dispatcher.waiting]).toEqual([['1', '3'], ['2', '4', '5', '6', '7'], 0])
    expect(all.map(({ close }) => close.mock.calls.length)).toEqual([0, 1, 0, 1, 1, 0, 0])
  })

  test('keeps connections until somebody is there', () => {
    const dispatcher = createDispatcher()
    dispatcher.accept({ handle: connection('1'), idle: false })
    expect(dispatcher.waiting).toBe(1)
    const a = worker(1)
    dispatcher.add(a)
    expect([a.got, dispatcher.waiting]).toEqual([['1'], 0])
  })

  test('gives what a dead worker had not taken over to another, first of all', () => {
    const dispatcher = createDispatcher()
    const [a, b] = [worker(1), worker(2)]
    dispatcher.add(a)
    for (const name of ['1', '2', '3']) dispatcher.accept({ handle: connection(name), idle: false })
    dispatcher.dead(1)
    expect(dispatcher.rescued).toBe(2)
    dispatcher.add(b)
    dispatcher.took(2, 1)
    expect(b.got).toEqual(['1', '2', '3'])
    // Late words of the dead change nothing.
    dispatcher.took(1, 5)
    expect(dispatcher.waiting).toBe(0)
  })

  test('sends nothing to a worker that was removed, and forgets nothing that it was sent', () => {
    const dispatcher = createDispatcher()
    const [a, b] = [worker(1), worker(2)]
    dispatcher.add(a)
    dispatcher.accept({ handle: connection('1'), idle: false })
    dispatcher.remove(1)
    dispatcher.accept({ handle: connection('2'), idle: false })
    dispatcher.add(b)
    expect([a.got, b.got]).toEqual([['1'], ['2']])
    dispatcher.dead(1)
    dispatcher.took(2, 1)
    expect(b.got).toEqual(['2', '1'])
  })

  test('a channel that is gone costs no connection', () => {
    const dispatcher = createDispatcher()
    const [a, b] = [worker(1), worker(2)]
    a.alive = false
    dispatcher.add(a)
    dispatcher.add(b)
    dispatcher.accept({ handle: connection('1'), idle: false })
    expect(b.got).toEqual(['1'])
  })

  test.each([
    ['in turn', createDispatcher],
    ['sticky', createStickyDispatcher],
  ])(
    '%s: closed, it keeps nobody waiting: what waits, what comes and what a dead worker leaves is closed',
    (_, create) => {
      const dispatcher = create()
      const a = worker(1)
      dispatcher.add(a)
      const all = ['1', '2', '3', '4'].map(connection)
      const taken = vi.fn<() => void>()
      for (const handle of all.slice(0, 3)) dispatcher.accept({ handle, idle: true, taken })
      const closed = (): number[] => all.map(({ close }) => close.mock.calls.length)
      dispatcher.close()
      expect([closed(), taken.mock.calls.length]).toEqual([[0, 0, 1, 0], 1])
      dispatcher.accept({ handle: all[3] as NativeHandle, idle: true, taken })
      expect([closed(), taken.mock.calls.length]).toEqual([[0, 0, 1, 1], 2])
      dispatcher.took(1, 1)
      dispatcher.dead(1)
      expect([closed(), taken.mock.calls.length]).toEqual([[1, 1, 1, 1], 4])
      expect([dispatcher.waiting, dispatcher.rescued, a.got]).toEqual([0, 0, ['1', '2']])
    },
  )
})

describe('the respawn policy', () => {
  const middle = (): number => 0.5

  test('replaces the first crash at once, and pauses at most a second between later ones', () => {
    const policy = createRespawnPolicy(middle)
    expect(policy.crashed(0, 60_000).delay).toBe(0)
    const delays = Array.from({ length: 12 }, () => policy.crashed(0, 100).delay)
    expect(delays[0]).toBeGreaterThan(0)
    expect(delays).toEqual([...delays].sort((a, b) => a - b))
    expect(Math.max(...delays)).toBeLessThanOrEqual(1_000)
    expect(policy.crashed(1, 100).delay).toBe(0)
    expect(policy.crashed(0, 60_000).delay).toBe(0)
  })

  test('opens the breaker once after failures in a row, and closes it when one succeeds', () => {
    const policy = createRespawnPolicy(middle)
    const opened = Array.from({ length: BREAKER_FAILURES + 2 }, () => policy.failedToStart())
    expect(opened.map((one) => one.opened)).toEqual([false, false, false, false, true, false, false])
    expect(opened.map((one) => one.hopeless)).toEqual([false, false, false, false, true, true, true])
    // One that served before it ended is worth a try.
    expect(policy.crashed(0, 60_000)).toEqual({ delay: 0, opened: false, hopeless: false })
    expect(opened.at(-1)?.delay).toBeGreaterThanOrEqual(15_000)
    expect(policy.open).toBe(true)
    policy.succeeded()
    expect(policy.open).toBe(false)
    expect(policy.failedToStart().delay).toBeLessThan(1_000)
  })
})

describe('the watchdog', () => {
  test('finds who is silent, and nobody when it was stopped itself', () => {
    let time = 0
    const worker = { state: 'ready', heardAt: 0 }
    const hung = vi.fn<() => void>(() => (worker.heardAt = Number.POSITIVE_INFINITY))
    const { look, interval } = createWatchdog(
      2_000,
      () => [worker],
      hung,
      () => time,
    )
    for (; time <= 2_000; time += interval) look()
    expect(hung).not.toHaveBeenCalled()
    worker.heardAt = time
    time += 60_000
    look()
    expect(hung).not.toHaveBeenCalled()
    const end = time + 2_500
    for (; time <= end; time += interval) look()
    expect(hung).toHaveBeenCalledTimes(1)
  })

  test('leaves those alone that start or drain', () => {
    let time = 0
    const hung = vi.fn<() => void>()
    const { look, interval } = createWatchdog(
      2_000,
      () => [
        { state: 'starting', heardAt: 0 },
        { state: 'draining', heardAt: 0 },
      ],
      hung,
      () => time,
    )
    for (; time <= 10_000; time += interval) look()
    expect(hung).not.toHaveBeenCalled()
  })
})

describe('autoscaling', () => {
  function simulate(range: { min: number; max: number }): (seconds: number, elu: number) => number {
    let time = 0
    let count = range.min
    const scaler = createAutoscaler(range, () => time)
    return (seconds, elu) => {
      for (let i = 0; i < seconds; i++, time += 1_000) count = scaler.look(Array.from({ length: count }, () => elu))
      return count
    }
  }

  test('adds one after another while all are busy, up to the most', () => {
    const run = simulate({ min: 1, max: 4 })
    expect(run(5, 0.9)).toBe(1)
    expect(run(1, 0.9)).toBe(2)
    expect(run(60, 0.9)).toBe(4)
  })

  test('removes slowly, and only where the others can bear it', () => {
    const run = simulate({ min: 1, max: 4 })
    run(60, 0.9)
    expect(run(120, 0.45)).toBe(4)
    expect(run(62, 0.2)).toBe(3)
    expect(run(600, 0.01)).toBe(1)
  })

  test('a short peak changes nothing', () => {
    const run = simulate({ min: 2, max: 8 })
    for (let i = 0; i < 10; i++) {
      run(3, 1)
      expect(run(1, 0.4)).toBe(2)
    }
  })
})

describe('red lines', () => {
  const GB = 1_073_741_824
  const rules = { cpu: 0.75, memory: 0.85, maxMemory: undefined, after: 30_000 }

  test('count when they are crossed for long, and are told once', () => {
    let time = 0
    const lines = createRedLines(rules, { cpus: 2, memory: GB }, () => time)
    const usage = { cpu: 1.6, memory: 0.2, workers: new Map([[1, GB / 10]]) }
    expect(lines.look(usage)).toEqual({ warnings: [], changes: [], replace: undefined })
    time = 29_999
    expect(lines.look(usage).warnings).toEqual([])
    time = 30_000
    const message = 'cpu: 80% of 2 cores, red line 75%'
    expect(lines.look(usage)).toEqual({
      warnings: [message],
      changes: [{ line: 'cpu', crossed: true, message }],
      replace: undefined,
    })
    expect(lines.look(usage).changes).toEqual([])
    expect(lines.look({ ...usage, cpu: 1 }).changes).toMatchObject([{ line: 'cpu', crossed: false }])
    expect(lines.look(usage).warnings).toEqual([])
  })

  test('past that of memory the biggest worker goes, one at a time', () => {
    let time = 0
    const lines = createRedLines(rules, { cpus: 2, memory: GB }, () => time)
    const workers = new Map([
      [1, GB * 0.2],
      [2, GB * 0.7],
    ])
    lines.look({ cpu: 0, memory: 0.9, workers })
    time = 30_000
    expect(lines.look({ cpu: 0, memory: 0.9, workers }).replace).toBe(2)
    time = 40_000
    expect(lines.look({ cpu: 0, memory: 0.9, workers }).replace).toBeUndefined()
    time = 60_000
    expect(lines.look({ cpu: 0, memory: 0.9, workers }).replace).toBe(2)
  })

  test('memory that others use is not taken from workers', () => {
    let time = 0
    const lines = createRedLines(rules, { cpus: 2, memory: GB }, () => time)
    const usage = { cpu: 0, memory: 0.95, workers: new Map([[1, GB * 0.1]]) }
    lines.look(usage)
    time = 60_000
    expect(lines.look(usage)).toMatchObject({
      replace: undefined,
      warnings: [expect.stringContaining('memory: 95% of 1024 MB')],
    })
  })

  test('a worker past the most it may have goes', () => {
    let time = 0
    const lines = createRedLines({ ...rules, maxMemory: 100 }, { cpus: 2, memory: GB }, () => time)
    const usage = {
      cpu: 0,
      memory: 0.1,
      workers: new Map([
        [1, 50],
        [2, 101],
      ]),
    }
    lines.look(usage)
    time = 30_000
    expect(lines.look(usage).replace).toBe(2)
  })
})
