import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Schedule, parseCron, startTicker } from '../src/cron.ts'
import { resolveRole } from '../src/role.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()
const iso = (time: number | undefined): string | undefined =>
  time === undefined ? undefined : new Date(time).toISOString()

describe('cron texts', () => {
  test.each([
    ['0 3 * * *', 'UTC', '2026-01-01T03:00:00.000Z'],
    ['0 3 * * *', 'Europe/Berlin', '2026-01-01T02:00:00.000Z'],
    ['*/10 * * * * *', 'UTC', '2026-01-01T00:00:10.000Z'],
    ['0 0 29 2 *', 'UTC', '2028-02-29T00:00:00.000Z'],
  ])('%j in %s is next due at %s', (pattern, timezone, expected) => {
    expect(iso(parseCron('sweep', pattern, timezone).next(Date.parse('2026-01-01T00:00:00Z')))).toBe(expected)
  })

  test('a night that is an hour longer or shorter has its tick once', () => {
    const { next } = parseCron('sweep', '30 2 * * *', 'Europe/Berlin')
    const days = (from: string): (string | undefined)[] => {
      const ticks: (string | undefined)[] = []
      for (let at = Date.parse(from); ticks.length < 3; ) {
        at = next(at) as number
        ticks.push(iso(at))
      }
      return ticks
    }
    // 02:30 is there twice on 25 October 2026, and not at all on 29 March 2026.
    expect(days('2026-10-23T12:00:00Z')).toEqual([
      '2026-10-24T00:30:00.000Z',
      expect.stringMatching(/^2026-10-25T0[01]:30/),
      '2026-10-26T01:30:00.000Z',
    ])
    expect(days('2026-03-27T12:00:00Z').map((tick) => tick?.slice(0, 10))).toEqual([
      '2026-03-28',
      '2026-03-29',
      '2026-03-30',
    ])
  })

  /** What the ticks of one night are known by, whenever a process begins to look for them. */
  function night(pattern: string, timezone: string, from: string): Set<number> {
    const { next, identity } = parseCron('sweep', pattern, timezone)
    const start = Date.parse(from)
    const end = start + 12 * 3_600_000
    const ids = new Set<number>()
    for (let at = start; at < end; at += 60_000) {
      const tick = next(at) as number
      if (tick < end) ids.add(identity(tick))
    }
    return ids
  }

  test.each([
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T20:00:00Z', 1],
    ['30 1 * * *', 'America/New_York', '2026-11-01T00:00:00Z', 1],
    ['0 0 * * *', 'America/Havana', '2026-11-01T00:00:00Z', 1],
    // Half an hour, and two of them.
    ['45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T10:00:00Z', 1],
    ['30 1 * * *', 'Antarctica/Troll', '2026-10-24T20:00:00Z', 1],
    ['*/20 1-4 * * *', 'Europe/Berlin', '2026-10-24T20:00:00Z', 12],
    // Who names no hour wants every one.
    ['*/30 * * * *', 'Europe/Berlin', '2026-10-24T20:00:00Z', 23],
    ['0 */1 * * *', 'Europe/Berlin', '2026-10-24T20:00:00Z', 11],
  ])(
    '%j in %s: in the night that has an hour twice it is the same ticks for all processes',
    (pattern, timezone, from, count) => {
      expect(night(pattern, timezone, from).size).toBe(count)
    },
  )

  test('H is a time that the name chooses, the same in all processes', () => {
    const at = Date.parse('2026-01-01T00:00:00Z')
    const due = (name: string): (number | undefined)[] =>
      Array.from({ length: 5 }, () => parseCron(name, 'H H * * *').next(at))
    expect(new Set(due('sweep')).size).toBe(1)
    expect(due('bill')[0]).not.toBe(due('sweep')[0])
  })
})

describe('ticks', () => {
  /** Every 1,000 ms of a clock that the test sets. */
  const every: Pick<Schedule, 'next'> = { next: (after) => (Math.floor(after / 1_000) + 1) * 1_000 }

  test('that passed while nobody looked are made up for, those too old are not, and each is fired once', async () => {
    let clock = 10_500
    const fired: number[] = []
    const ticker = startTicker({
      schedule: every,
      now: () => clock,
      patience: 3_000,
      fire: async (tick) => void fired.push(tick),
      onError: () => undefined,
    })
    // Those before the start: no other process may have been there.
    await waitFor(() => fired.length === 3)
    clock = 17_200
    await waitFor(() => fired.length >= 6)
    await ticker.stop()
    expect(fired).toEqual([8_000, 9_000, 10_000, 15_000, 16_000, 17_000])
  })

  test('of before the moment that the cron job was first known are left out, once that can be asked', async () => {
    let asked = 0
    const fired: number[] = []
    const ticker = startTicker({
      schedule: every,
      now: () => 10_500,
      patience: 3_000,
      async since(start) {
        expect(start).toBe(10_500)
        if (asked++ === 0) throw new Error('Redis is away')
        return 9_000
      },
      fire: async (tick) => void fired.push(tick),
      onError: () => undefined,
    })
    await waitFor(() => fired.length === 2)
    await ticker.stop()
    expect(fired).toEqual([9_000, 10_000])
  })

  test('that are too old are passed over at once, however many they are', async () => {
    let clock = 10_500
    let looked = 0
    const fired: number[] = []
    const ticker = startTicker({
      schedule: { next: (after) => (looked++, every.next(after)) },
      now: () => clock,
      patience: 3_000,
      fire: async (tick) => void fired.push(tick),
      onError: () => undefined,
    })
    await waitFor(() => fired.length === 3)
    // A machine that slept for eight hours.
    clock += 8 * 3_600_000
    await waitFor(() => fired.length >= 6)
    await ticker.stop()
    expect(looked).toBeLessThan(20)
  })

  test('that can not be made are tried again, then given up', async () => {
    // Those of before the start are too old.
    let clock = 0
    let broken = true
    const tried = new Set<number>()
    const fired: number[] = []
    const lost: number[] = []
    const ticker = startTicker({
      schedule: every,
      now: () => clock,
      patience: 3_000,
      async fire(tick) {
        tried.add(tick)
        if (broken) throw new Error('Redis is away')
        fired.push(tick)
      },
      onError: (_error, tick) => lost.push(tick),
    })
    await waitFor(() => tried.has(0))
    clock = 2_500
    await waitFor(() => tried.has(2_000))
    clock = 4_500
    // Each is tried in its own time: one that is not given up yet would be made.
    await waitFor(() => lost.includes(0) && lost.includes(1_000))
    broken = false
    await waitFor(() => fired.length === 3)
    await ticker.stop()
    expect(lost.filter((tick) => tick >= 0).sort()).toEqual([0, 1_000])
    expect(fired.sort()).toEqual([2_000, 3_000, 4_000])
  })

  test('of many processes make one job, and none where they only serve the web', async () => {
    const seen: string[] = []
    const apps = await Promise.all([
      bench.create({ role: 'web' }),
      ...Array.from({ length: 4 }, () => bench.create({ role: 'jobs' })),
    ])
    for (const app of apps)
      app.jobs.cron('sweep', '* * * * * *', { timezone: 'Europe/Berlin' }, ({ tick }, { idempotencyKey }) => {
        seen.push(tick)
        return idempotencyKey
      })
    await Promise.all(apps.map((app) => app.ready()))
    await waitFor(() => new Set(seen).size >= 4)
    await Promise.all(apps.slice(1).map((app) => app.close()))
    expect(seen).toEqual([...new Set(seen)])
    const times = seen.map((tick) => Date.parse(tick)).sort((a, b) => a - b)
    for (const [index, time] of times.entries()) expect(time).toBe((times[0] as number) + index * 1_000)
  })
})

describe('a process that starts', () => {
  /** As if the moment were now; the clock goes on from there. */
  function begin(moment: string): void {
    const start = Date.parse(moment) - performance.now()
    vi.spyOn(Date, 'now').mockImplementation(() => Math.floor(start + performance.now()))
  }
  afterEach(() => void vi.restoreAllMocks())

  test('runs nothing of before its cron job was there, and later what no process was there for', async () => {
    const ticks: string[] = []
    const beats: number[] = []
    const service = async (moment: string, pattern = '0 3 * * *'): Promise<FastifyInstance> => {
      begin(moment)
      const app = await bench.create()
      app.jobs.cron('sweep', pattern, ({ tick }) => void ticks.push(tick))
      app.jobs.cron('beat', '* * * * * *', ({ tick }) => void beats.push(Date.parse(tick)))
      await app.ready()
      return app
    }
    const first = await service('2026-01-01T03:00:30.500Z')
    await waitFor(() => beats.length >= 2)
    await first.close()
    expect(ticks).toEqual([])
    expect(Math.min(...beats)).toBe(Date.parse('2026-01-01T03:00:31Z'))

    const second = await service('2026-01-02T03:00:30.500Z')
    await waitFor(() => ticks.length === 1)
    expect(ticks).toEqual(['2026-01-02T03:00:00.000Z'])
    await second.close()

    // Another time is another cron job.
    beats.length = 0
    const third = await service('2026-01-02T04:00:30.500Z', '0 4 * * *')
    await waitFor(() => beats.length >= 2)
    await third.close()
    expect(ticks).toHaveLength(1)
  })

  test('in the hour that comes twice does not run again what ran in the first', async () => {
    const ticks: string[] = []
    const offered: string[] = []
    const onAdded = (message: unknown): void => void offered.push((message as { id: string }).id)
    subscribe('fastify-scale:jobs:added', onAdded)
    onTestFinished(() => void unsubscribe('fastify-scale:jobs:added', onAdded))
    const service = async (): Promise<FastifyInstance> => {
      const app = await bench.create()
      app.jobs.cron('bill', '30 2 * * *', { timezone: 'Europe/Berlin' }, ({ tick }) => void ticks.push(tick))
      await app.ready()
      return app
    }
    begin('2026-10-25T00:29:59.500Z')
    const first = await service()
    await waitFor(() => ticks.length === 1)
    await first.close()

    begin('2026-10-25T01:29:59.500Z')
    const second = await service()
    await waitFor(() => offered.length === 2)
    expect(offered[1]).toBe(offered[0])
    expect(await second.jobs.counts('default')).toMatchObject({ waiting: 0, active: 0, completed: 1 })
    expect(ticks).toEqual(['2026-10-25T00:30:00.000Z'])
  })
})

describe('the role', () => {
  test.each([
    [undefined, {}, 'all'],
    [undefined, { FASTIFY_SCALE_ROLE: 'jobs' }, 'jobs'],
    [undefined, { FASTIFY_SCALE_ROLE: 'web' }, 'web'],
    [undefined, { FASTIFY_SCALE_ROLE: 'something' }, 'all'],
    ['all', { FASTIFY_SCALE_ROLE: 'web' }, 'all'],
  ] as const)('option %s and %o make %s', (option, env, expected) => {
    expect(resolveRole(option, env)).toBe(expected)
  })
})
