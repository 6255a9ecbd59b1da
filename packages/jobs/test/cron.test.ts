import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
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
})

describe('ticks', () => {
  /** Every 1,000 ms of a clock that the test sets. */
  const every: Schedule = {
    next: (after) => (Math.floor(after / 1_000) + 1) * 1_000,
    previous: (before) => (Math.ceil(before / 1_000) - 1) * 1_000,
  }

  test('that passed while nobody looked are made up for, those too old are not, and each is fired once', async () => {
    let clock = 10_500
    const fired: number[] = []
    const ticker = startTicker({
      schedule: { ...every, next: (after) => every.next(after) },
      now: () => clock,
      patience: 3_000,
      fire: async (tick) => void fired.push(tick),
      onError: () => undefined,
    })
    // The last one before the start: other processes may all have been starting.
    await waitFor(() => fired.length === 1)
    clock = 17_200
    await waitFor(() => fired.length >= 4)
    await ticker.stop()
    expect(fired).toEqual([10_000, 15_000, 16_000, 17_000])
  })

  test('that can not be made are tried again, then given up', async () => {
    let clock = 10_500
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
    clock = 12_500
    await waitFor(() => tried.has(12_000))
    clock = 14_500
    await waitFor(() => lost.length === 2)
    broken = false
    await waitFor(() => fired.length === 3)
    await ticker.stop()
    expect(lost.sort()).toEqual([10_000, 11_000])
    expect(fired.sort()).toEqual([12_000, 13_000, 14_000])
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
