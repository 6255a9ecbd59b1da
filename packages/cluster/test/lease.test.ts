import { openConnections, type RedisClient } from '@fastify-scale/kit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createLeases } from '../src/lease.ts'
import type { Leases, SingletonContext } from '../src/singleton.ts'
import { faultProxy, type RedisServer, startRedis, waitFor } from './helpers.ts'

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined }
let redis: RedisServer
const closers: (() => Promise<void>)[] = []

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()))
})

async function connect(url = redis.url): Promise<RedisClient> {
  const connections = await openConnections({ packageName: 'test', redis: url, host: {}, log })
  const client = await connections.command({ timeout: 200 })
  closers.push(connections.close)
  return client
}

interface Holder {
  /** Since when it holds, by the monotonic clock; undefined when it does not. */
  context: SingletonContext | undefined
  fences: number[]
  stop(): Promise<void>
}

let serial = 0
/** How many hold the same lease at one time: now and at most. */
const active = { now: 0, most: 0 }

async function hold(leases: Leases, name: string): Promise<Holder> {
  const stop = new AbortController()
  const holder: Holder = {
    context: undefined,
    fences: [],
    async stop() {
      stop.abort()
      await done
    },
  }
  const done = leases.hold(name, stop.signal, async (context) => {
    holder.context = context
    holder.fences.push(context.fencing)
    if (name === 'job') active.most = Math.max(active.most, ++active.now)
    await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
    if (name === 'job') active.now--
    holder.context = undefined
  })
  closers.unshift(holder.stop)
  return holder
}

async function leasesOf(owner: string, ttl = 1_000, url = redis.url): Promise<Leases> {
  const options = { prefix: `test${serial}:`, owner, ttl, commandTimeout: 200, onError: () => undefined }
  return createLeases({ client: await connect(url), ...options })
}

describe('lease', () => {
  it('is held by one, and passes on at once when it is given back', async () => {
    serial++
    const a = await hold(await leasesOf('a'), 'job')
    await waitFor(() => a.context)
    const b = await hold(await leasesOf('b'), 'job')
    const other = await hold(await leasesOf('b'), 'other')
    await waitFor(() => other.context)
    expect(b.context).toBeUndefined()
    const before = performance.now()
    await a.stop()
    await waitFor(() => b.context)
    expect(performance.now() - before).toBeLessThan(1_000)
    expect(b.fences[0]).toBeGreaterThan(a.fences[0] as number)
  })

  it('is renewed for longer than it lasts', async () => {
    serial++
    // Long enough that a stall of the machine does not end it.
    const a = await hold(await leasesOf('a', 1_500), 'job')
    const b = await hold(await leasesOf('b', 1_500), 'job')
    const started = performance.now()
    await waitFor(() => (a.context || b.context) && performance.now() - started > 4_500)
    expect(a.fences.length + b.fences.length).toBe(1)
  })

  it('passes on when its holder vanished, after its time; to the same owner at once', async () => {
    serial++
    const client = await connect()
    const prefix = `test${serial}:`
    // A holder that vanishes: it takes the lease and is not heard of again.
    const vanishing = createLeases({
      client,
      prefix,
      owner: 'a',
      ttl: 2_000,
      commandTimeout: 200,
      onError: () => undefined,
    })
    void vanishing.hold('job', new AbortController().signal, () => new Promise(() => undefined)).catch(() => undefined)
    await waitFor(async () => (await client.hget(`${prefix}job`, 'owner')) === 'a')
    client.disconnect()
    const gone = performance.now()
    const other = await hold(await leasesOf('b', 2_000), 'job')
    const same = await hold(await leasesOf('a', 2_000), 'other')
    await waitFor(() => same.context)
    expect(other.context).toBeUndefined()
    await waitFor(() => other.context)
    // The first renewal would have been after a third of the time, so all of it was left.
    expect(performance.now() - gone).toBeGreaterThan(1_500)
  })

  it('passes on at once to the next worker of the same launcher', async () => {
    serial++
    const client = await connect()
    const prefix = `test${serial}:`
    const dead = createLeases({
      client,
      prefix,
      owner: 'a',
      ttl: 60_000,
      commandTimeout: 200,
      onError: () => undefined,
    })
    void dead.hold('job', new AbortController().signal, () => new Promise(() => undefined)).catch(() => undefined)
    await waitFor(async () => (await client.hget(`${prefix}job`, 'owner')) === 'a')
    const before = Number(await client.hget(`${prefix}job`, 'fencing'))
    client.disconnect()
    const same = await hold(await leasesOf('a', 60_000), 'job')
    await waitFor(() => same.context)
    expect(same.fences[0]).toBeGreaterThan(before)
  })

  it('stops ahead of its end when Redis stalls, and one goes on afterwards', async () => {
    serial++
    const a = await hold(await leasesOf('a'), 'job')
    await waitFor(() => a.context)
    const b = await hold(await leasesOf('b'), 'job')
    const signal = a.context?.signal as AbortSignal
    redis.freeze()
    const frozen = performance.now()
    try {
      await waitFor(() => signal.aborted)
      // The last renewal was granted before the stall: 1,000 ms from then the lease may go to another.
      expect(performance.now() - frozen).toBeLessThan(1_000)
    } finally {
      redis.thaw()
    }
    const next = await waitFor(() => a.context ?? b.context)
    expect(next.fencing).toBeGreaterThan(a.fences[0] as number)
    expect([a.context, b.context].filter(Boolean)).toHaveLength(1)
  })

  it('never has two holders through stalls of Redis', async () => {
    serial++
    const holders = await Promise.all(['a', 'b', 'c'].map(async (owner) => hold(await leasesOf(owner, 300), 'job')))
    active.most = 0
    for (let round = 0; round < 5; round++) {
      await waitFor(() => holders.some((holder) => holder.context))
      const signal = holders.find((holder) => holder.context)?.context?.signal as AbortSignal
      redis.freeze()
      try {
        await waitFor(() => signal.aborted)
      } finally {
        redis.thaw()
      }
    }
    await waitFor(() => holders.some((holder) => holder.context))
    expect(active.most).toBe(1)
    const fences = holders.flatMap((holder) => holder.fences)
    expect(new Set(fences).size).toBe(fences.length)
    expect(fences.length).toBeGreaterThanOrEqual(6)
  })

  it('never has two holders when the holder alone is cut off, and late renewals change nothing', async () => {
    serial++
    const proxy = await faultProxy({ target: redis.url })
    closers.push(() => proxy.stop())
    active.most = 0
    const a = await hold(await leasesOf('a', 400, proxy.url), 'job')
    await waitFor(() => a.context)
    let b = await hold(await leasesOf('b', 400), 'job')
    for (let round = 0; round < 3; round++) {
      await waitFor(() => a.context)
      const { fences } = b
      const rounds = fences.length
      proxy.freeze()
      await waitFor(() => fences.length > rounds)
      expect(a.context).toBeUndefined()
      proxy.thaw()
      // What was held back reaches Redis now; b must keep what it has.
      const held = b.context?.signal as AbortSignal
      const until = performance.now() + 500
      await waitFor(() => held.aborted || performance.now() > until)
      expect(held.aborted).toBe(false)
      await b.stop()
      await waitFor(() => a.context)
      b = await hold(await leasesOf('b', 400), 'job')
    }
    expect(active.most).toBe(1)
  })

  it('keeps fencing numbers going up when Redis was killed and has forgotten all', async () => {
    serial++
    const a = await hold(await leasesOf('a', 500), 'job')
    const { fencing, signal } = await waitFor(() => a.context)
    await redis.kill()
    await waitFor(() => signal.aborted)
    await redis.restart()
    const b = await hold(await leasesOf('b', 500), 'job')
    const { fencing: next } = await waitFor(() => a.context ?? b.context)
    expect(next).toBeGreaterThan(fencing)
  })

  it('stops its holder when the lease was taken away', async () => {
    serial++
    const client = await connect()
    const a = await hold(await leasesOf('a', 600), 'job')
    const { signal } = await waitFor(() => a.context)
    await client.hset(`test${serial}:job`, 'owner', 'somebody else', 'until', Date.now() + 60_000)
    await waitFor(() => signal.aborted)
    expect(a.context).toBeUndefined()
  })

  it('passes on what the function threw, and gives the lease back', async () => {
    serial++
    const leases = await leasesOf('a', 60_000)
    const failing = leases.hold('job', new AbortController().signal, () => Promise.reject(new RangeError('broken')))
    await expect(failing).rejects.toThrow(RangeError)
    const b = await hold(await leasesOf('b', 60_000), 'job')
    await waitFor(() => b.context)
  })

  it('reports errors of Redis and goes on trying', async () => {
    serial++
    const times: number[] = []
    const client = await connect()
    client.disconnect()
    const leases = createLeases({
      client,
      prefix: `test${serial}:`,
      owner: 'a',
      ttl: 300,
      commandTimeout: 50,
      // It may return anything, as the methods of some loggers do.
      onError: () => times.push(performance.now()),
    })
    const a = await hold(leases, 'job')
    await waitFor(() => times.length > 3)
    // With pauses: of at least 25, 38 and 38 ms.
    expect((times[3] as number) - (times[0] as number)).toBeGreaterThan(90)
    await client.connect()
    await waitFor(() => a.context)
  })
})
