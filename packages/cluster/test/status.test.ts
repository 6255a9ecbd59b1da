import { EventEmitter } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import type { Primary } from '../src/primary/types.ts'
import { createStatus, type StatusOptions } from '../src/status.ts'

afterEach(() => vi.useRealTimers())

test("a worker's uptime is right when the clock of the machine is set", () => {
  const slot = { slot: 0, role: 'web', restarts: 0, replacements: 0 }
  const worker = { id: 1, pid: 10, generation: 0, state: 'ready', readyAt: 5_000 }
  const primary = { name: 'app', pid: 1, startedAt: 0, state: 'running', slots: [{ ...slot, worker }] }
  const status = createStatus({
    id: 'one',
    primary: { ...primary, events: new EventEmitter() } as unknown as Primary,
    memory: 1_000,
    singletons: () => [],
    now: () => 65_000,
  } as unknown as StatusOptions)
  vi.useFakeTimers({ toFake: ['Date'] })
  for (const clock of ['1970-01-01', '2026-01-01', '2100-01-01']) {
    vi.setSystemTime(new Date(clock))
    expect(status.read().slots[0]?.uptime).toBe(60_000)
  }
  status.stop()
})
