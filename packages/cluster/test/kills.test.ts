import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { LauncherStatus } from '../src/index.ts'
import { isAlive, type RedisServer, startRedis, waitFor } from './helpers.ts'
import { launch, type Launched, tenures, type TraceEvent } from './in-app/launch.ts'

/** Kills for each attack: the full figure with SOAK=1. */
const KILLS = process.env['SOAK'] ? 50 : 4

const launched: Launched[] = []
async function start(...args: Parameters<typeof launch>): Promise<Launched> {
  const one = await launch(...args)
  launched.push(one)
  return one
}
afterEach(async () => {
  await Promise.all(launched.splice(0).map((one) => one.stop()))
})

/** Never two at a time, fencing numbers in order, and the gaps between them. */
function check(list: ReturnType<typeof tenures>): number[] {
  return list.slice(1).map((next, i) => {
    const before = list[i] as (typeof list)[number]
    expect(next.from, `${next.pid} began while ${before.pid} ran`).toBeGreaterThan(before.to)
    expect(next.fencing).toBeGreaterThan(before.fencing)
    return next.from - before.to
  })
}

describe('under the launcher', () => {
  // One launcher for all: starting processes is what takes the time.
  let cluster: Launched
  beforeAll(async () => {
    cluster = await launch()
  })
  afterAll(() => cluster.stop())
  const runs = (): ReturnType<typeof tenures> => tenures(cluster.trace())
  const loads = (): TraceEvent[] => cluster.trace().filter(({ event }) => event === 'load')
  const allReady = (): Promise<boolean> => waitFor(async () => (await cluster.pids()).length === 3, { timeout: 30_000 })

  it('broadcasts, worker and commands reach whom they should', async () => {
    expect(await cluster.get('/worker')).toMatchObject({ count: 3, role: 'web', generation: 0, launched: true })
    await cluster.post('/news', { n: 1 })
    await cluster.post('/news', { n: 2 })
    const heard = new Map<number, unknown>()
    await waitFor(async () => {
      const { pid, heard: news } = await cluster.get<{ pid: number; heard: unknown[] }>('/heard')
      if (news.length === 2) heard.set(pid, news)
      return heard.size === 3
    })
    for (const news of heard.values()) expect(news).toEqual([{ n: 1 }, { n: 2 }])

    await cluster.post('/scale/2')
    await waitFor(async () => (await cluster.pids()).length === 2)
    await waitFor(async () => (await cluster.get<{ count: number }>('/worker')).count === 2)
    const [first, second] = await cluster.pids()
    await cluster.post('/restart/0')
    await waitFor(
      async () => {
        const now = await cluster.pids()
        return now.length === 2 && now[0] !== first && now[1] === second
      },
      { timeout: 20_000 },
    )
    // The answer may have been in the hands of the one that is killed.
    await cluster.post('/kill/1').catch(() => undefined)
    await waitFor(
      async () => {
        const now = await cluster.pids()
        return now.length === 2 && now[1] !== second
      },
      { timeout: 20_000 },
    )
    const [status] = await cluster.get<LauncherStatus[]>('/status')
    expect(status).toMatchObject({ name: 'traced', state: 'running' })
    expect(status?.slots[1]).toMatchObject({ restarts: 1, lastExit: { signal: 'SIGKILL' } })
    await expect(cluster.post('/scale/0')).rejects.toThrow('SCALE_CLUSTER_OPTION')
    await expect(cluster.post('/restart/9')).rejects.toThrow('SCALE_CLUSTER_OPTION')
    await expect(cluster.post('/kill/9')).rejects.toThrow('SCALE_CLUSTER_OPTION')
    await cluster.post('/scale/3')
    await allReady()
  })

  it(
    'a singleton and a loader never run twice and move within a second when their worker is killed',
    async () => {
      const [runsBefore, loadsBefore] = [runs().length - 1, loads().length - 1]
      for (let kill = 0; kill < KILLS; kill++) {
        // The back-off after so many crashes is not what is tried here.
        await allReady()
        const [holder, loader] = [runs().at(-1)?.pid as number, loads().at(-1)?.pid as number]
        const [run, load] = [runs().length, loads().length]
        process.kill(kill % 2 === 0 ? holder : loader, 'SIGKILL')
        if (kill % 2 === 0 || holder === loader) await waitFor(() => runs().length > run)
        await waitFor(async () => {
          // Never an answer without a value: a worker is not ready before it has one.
          expect((await cluster.get<{ age: number }>('/').catch(() => ({ age: 0 }))).age).toBeLessThan(5_000)
          return loads().length > load + 3
        })
      }
      const gaps = check(runs().slice(runsBefore))
      expect(gaps.length).toBeGreaterThanOrEqual(Math.ceil(KILLS / 2))
      expect(Math.max(...gaps)).toBeLessThan(1_000)
      const all = loads().slice(loadsBefore)
      for (const [i, load] of all.entries()) {
        // One loads at a time: the numbers never go back. And in time, over kills as well.
        expect(load.fencing).toBeGreaterThanOrEqual(all[i - 1]?.fencing ?? 0)
        expect(load.at - (all[i - 1]?.at ?? load.at)).toBeLessThan(1_000)
      }
    },
    30_000 + KILLS * 5_000,
  )

  it('metrics: a silent worker is flagged and hurts nothing, and sums do not go down over reload and kill', async () => {
    const count = async (): Promise<number> => {
      const text = await (await fetch(`${cluster.admin}/metrics`)).text()
      const lines = text.split('\n').filter((line) => line.startsWith('http_requests_total{'))
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
    }
    await allReady()
    for (let i = 0; i < 10; i++) await cluster.get('/worker')
    const before = await waitFor(count)
    const [, stopped] = await cluster.pids()
    process.kill(stopped as number, 'SIGSTOP')
    try {
      const text = await (await fetch(`${cluster.admin}/metrics`)).text()
      expect(text).toContain('fastify_scale_worker_silent{slot="0"} 0')
      expect(text).toContain('fastify_scale_worker_silent{slot="1"} 1')
      expect(text).toContain('nodejs_heap_size_used_bytes{slot="0"}')
      expect(text).not.toContain('nodejs_heap_size_used_bytes{slot="1"}')
      expect(await count()).toBeGreaterThanOrEqual(before)
      // One that is silent is borne by the probes too.
      expect((await fetch(`${cluster.admin}/livez`)).status).toBe(200)
      expect((await fetch(`${cluster.admin}/readyz`)).status).toBe(200)
    } finally {
      process.kill(stopped as number, 'SIGKILL')
    }
    await allReady()
    expect(await count()).toBeGreaterThanOrEqual(before)
    const text = await (await fetch(`${cluster.admin}/metrics`)).text()
    expect(text).toMatch(/fastify_scale_worker_crashes_total [1-9]/)
  })

  it('readyz tells of the check of any worker', async () => {
    await cluster.post('/ready/false')
    await waitFor(async () => {
      const response = await fetch(`${cluster.admin}/readyz`)
      return response.status === 503 && (await response.text()).includes('switched off')
    })
    expect((await fetch(`${cluster.admin}/livez`)).status).toBe(200)
  })

  it('a singleton moves at most twice in a reload, without a moment of two, and stops with the launcher', async () => {
    const before = await cluster.pids()
    const sum = runs().length
    await cluster.post('/reload')
    await waitFor(async () => (await cluster.pids()).every((pid) => !before.includes(pid)), { timeout: 30_000 })
    await waitFor(() => !before.includes(runs().at(-1)?.pid as number))
    const gaps = check(runs().slice(sum - 1))
    expect(gaps.length).toBeLessThanOrEqual(2)
    expect(Math.max(...gaps)).toBeLessThan(1_000)
    // What was switched off has been replaced.
    await waitFor(async () => (await fetch(`${cluster.admin}/readyz`)).status === 200)
    await cluster.stop()
    expect(
      cluster
        .trace()
        .filter(({ event }) => event === 'alive' || event === 'stop')
        .at(-1)?.event,
    ).toBe('stop')
  })
})

it('a hung worker gives nothing away before it is ended', async () => {
  const cluster = await start({ workers: 2, args: ['--hang-timeout', '1s'] })
  const holder = await waitFor(() => tenures(cluster.trace())[0]?.pid)
  await waitFor(async () => (await cluster.post<{ pid: number }>('/block/60000')).pid === holder, { interval: 1 })
  await waitFor(() => tenures(cluster.trace()).length === 2, { timeout: 20_000 })
  expect(isAlive(holder)).toBe(false)
  check(tenures(cluster.trace()))
})

describe('over two launchers, by Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  it('one singleton runs, moves at once within a launcher, and within the lease when a whole launcher vanishes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-'))
    const options = { workers: 2, tracePath: join(dir, 'trace'), env: { REDIS_URL: redis.url, LEASE: '2s' } }
    const a = await start(options)
    const b = await start(options)
    const runs = (): ReturnType<typeof tenures> => tenures(a.trace())
    try {
      // Each knows of the other.
      await waitFor(async () => {
        const seen = await b.get<{ pid: number }[]>('/status')
        return seen.length === 2 && seen[0]?.pid === b.pid && seen[1]?.pid === a.pid
      })
      await waitFor(async () => {
        const [ofA, ofB] = [await a.get<{ shared: unknown }>('/'), await b.get<{ shared: unknown }>('/')]
        return JSON.stringify(ofA.shared) === JSON.stringify(ofB.shared)
      })

      const workersOfA = await a.pids()
      const first = runs().at(-1)?.pid as number
      expect(workersOfA).toContain(first)
      process.kill(first, 'SIGKILL')
      await waitFor(() => runs().length === 2)
      const second = runs().at(-1)?.pid as number
      expect(workersOfA).toContain(second)

      await a.vanish()
      const workersOfB = await b.pids()
      await waitFor(() => runs().length === 3)
      expect(workersOfB).toContain(runs().at(-1)?.pid)
      const [moved, vanished] = check(runs()) as [number, number]
      expect(moved).toBeLessThan(1_000)
      // The lease of two seconds, from its last renewal; and time for a poll on a busy machine.
      expect(vanished).toBeLessThan(2_000 + 2_500)
      await waitFor(async () => (await b.get<unknown[]>('/status')).length === 1)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('a holder that was stopped for longer than its lease ends as soon as it goes on, and fencing tells its writes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-'))
    const options = { workers: 1, tracePath: join(dir, 'trace'), env: { REDIS_URL: redis.url, LEASE: '1s' } }
    const a = await start({ ...options, args: ['--hang-timeout', '0'] })
    const b = await start({ ...options, args: ['--hang-timeout', '0'] })
    const runs = (): ReturnType<typeof tenures> => tenures(a.trace())
    try {
      const holder = await waitFor(() => runs()[0]?.pid)
      process.kill(holder, 'SIGSTOP')
      const next = await waitFor(() => runs()[1])
      process.kill(holder, 'SIGCONT')
      await waitFor(() => a.trace().some(({ event, pid }) => event === 'stop' && pid === holder))
      // At most the write that it was stopped in came late, with the number that tells it.
      const late = a.trace().filter(({ pid, at, event }) => pid === holder && at > next.from && event !== 'load')
      expect(late.length).toBeLessThanOrEqual(2)
      for (const one of late) expect(one.fencing).toBeLessThan(next.fencing)
    } finally {
      await Promise.all([a.stop(), b.stop()])
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('runs nowhere while Redis is frozen or gone, and once afterwards', async () => {
    const a = await start({ workers: 2, env: { REDIS_URL: redis.url, LEASE: '1s' } })
    const runs = (): ReturnType<typeof tenures> => tenures(a.trace())
    const stops = (): number => a.trace().filter(({ event }) => event === 'stop').length
    await waitFor(() => runs().length === 1)
    redis.freeze()
    const frozen = Number(process.hrtime.bigint() / 1_000n) / 1_000
    try {
      await waitFor(() => stops() === 1)
      expect((runs()[0]?.to as number) - frozen).toBeLessThan(1_000)
      // What was loaded stays readable.
      await a.get('/')
      const ready = await fetch(`${a.admin}/readyz`)
      expect(ready.status).toBe(503)
      expect(await ready.text()).toContain('cluster: redis')
    } finally {
      redis.thaw()
    }
    await waitFor(() => runs().length === 2)
    await redis.kill()
    await waitFor(() => stops() === 2)
    await redis.restart()
    await waitFor(() => runs().length === 3)
    check(runs())
  })
})
