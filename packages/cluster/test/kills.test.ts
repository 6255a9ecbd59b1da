import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { isAlive, type RedisServer, startRedis, waitFor } from './helpers.ts'
import { launch, type Launched, tenures } from './in-app/launch.ts'

/** Kills for each attack: the full figure with SOAK=1. */
const KILLS = process.env['SOAK'] ? 50 : 5

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
  it('a singleton never runs twice and moves within a second when its worker is killed', async () => {
    const cluster = await start()
    for (let kill = 0; kill < KILLS; kill++) {
      // The back-off after so many crashes is not what is tried here.
      await waitFor(async () => (await cluster.pids()).length === 3, { timeout: 20_000 })
      const holder = await waitFor(() => {
        const last = tenures(cluster.trace()).at(-1)
        return last && isAlive(last.pid) && tenures(cluster.trace()).length === kill + 1 ? last.pid : undefined
      })
      process.kill(holder, 'SIGKILL')
      await waitFor(() => tenures(cluster.trace()).length === kill + 2, { timeout: 5_000 })
    }
    const gaps = check(tenures(cluster.trace()))
    expect(gaps).toHaveLength(KILLS)
    expect(Math.max(...gaps)).toBeLessThan(1_000)
  })

  it('a singleton moves once in a reload, without a moment of two, and stops with the launcher', async () => {
    const cluster = await start()
    await waitFor(() => tenures(cluster.trace()).length === 1)
    const before = await cluster.pids()
    await cluster.post('/reload')
    await waitFor(async () => (await cluster.pids()).every((pid) => !before.includes(pid)), { timeout: 20_000 })
    await waitFor(() => !before.includes(tenures(cluster.trace()).at(-1)?.pid as number))
    // It stops where it ran because that worker drains, so it may be a moment without; it may move twice when a new
    // worker is up before the last old one has drained, never more.
    const gaps = check(tenures(cluster.trace()))
    expect(gaps.length).toBeLessThanOrEqual(2)
    expect(Math.max(...gaps)).toBeLessThan(1_000)
    await cluster.stop()
    expect(cluster.trace().filter(({ event }) => event === 'stop')).toHaveLength(gaps.length + 1)
  })

  it('a shared value is fresh in every worker while the worker that loads is killed again and again', async () => {
    const cluster = await start()
    for (let kill = 0; kill < KILLS; kill++) {
      const loads = cluster.trace().filter(({ event }) => event === 'load')
      const loader = loads.at(-1)?.pid as number
      if (isAlive(loader)) process.kill(loader, 'SIGKILL')
      const killedAt = loads.length
      // Never an answer without a value: a worker is not ready before it has one.
      await waitFor(async () => {
        const { age } = await cluster.get<{ age: number }>('/')
        expect(age).toBeLessThan(5_000)
        const now = cluster.trace().filter(({ event }) => event === 'load')
        return now.length > killedAt + 3 && now.at(-1)?.pid !== loader
      })
      await waitFor(async () => (await cluster.pids()).length === 3, { timeout: 20_000 })
    }
    const loads = cluster.trace().filter(({ event }) => event === 'load')
    // One loads at a time: the numbers never go back.
    for (const [i, load] of loads.entries()) expect(load.fencing).toBeGreaterThanOrEqual(loads[i - 1]?.fencing ?? 0)
    // From one load to the next, over a kill as well: in time.
    const gaps = loads.slice(1).map((load, i) => load.at - (loads[i]?.at as number))
    expect(Math.max(...gaps)).toBeLessThan(1_000)
  })

  it('a hung worker gives nothing away before it is ended', async () => {
    const cluster = await start({ args: ['--hang-timeout', '1s'] })
    const holder = await waitFor(() => tenures(cluster.trace())[0]?.pid)
    await waitFor(async () => (await cluster.post<{ pid: number }>('/block/60000')).pid === holder, { interval: 1 })
    await waitFor(() => tenures(cluster.trace()).length === 2, { timeout: 20_000 })
    expect(isAlive(holder)).toBe(false)
    check(tenures(cluster.trace()))
  })

  it('broadcasts, worker and commands reach whom they should', async () => {
    const cluster = await start()
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
    const [first, second] = await cluster.pids()
    await cluster.post('/restart/0')
    await waitFor(async () => {
      const now = await cluster.pids()
      return now.length === 2 && now[0] !== first && now[1] === second
    })
    // The answer may have been in the hands of the one that is killed.
    await cluster.post('/kill/1').catch(() => undefined)
    await waitFor(async () => {
      const now = await cluster.pids()
      return now.length === 2 && now[1] !== second
    })
    const [status] =
      await cluster.get<{ name: string; slots: { restarts: number; lastExit: { signal: string } }[] }[]>('/status')
    expect(status).toMatchObject({ name: 'traced', state: 'running' })
    expect(status?.slots[1]).toMatchObject({ restarts: 1, lastExit: { signal: 'SIGKILL' } })
    await expect(cluster.post('/scale/0')).rejects.toThrow('SCALE_CLUSTER_OPTION')
    await expect(cluster.post('/restart/9')).rejects.toThrow('SCALE_CLUSTER_OPTION')
  })
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
