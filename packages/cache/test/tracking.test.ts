import { type FaultProxy, type RedisServer, faultProxy, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Worker } from 'node:worker_threads'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type ScaleCacheOptions, hitChannel, scaleCache, trackingChannel } from '../src/index.ts'
import { remembered, uniquePrefix } from './support.ts'

let redis: RedisServer
let admin: Redis
const ends: (() => unknown)[] = []

beforeAll(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url)
})
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
afterAll(async () => {
  admin.disconnect()
  await redis.stop()
})

interface Started {
  app: FastifyInstance
  warnings: string[]
}

async function start(options: ScaleCacheOptions): Promise<Started> {
  const warnings: string[] = []
  const app = Fastify({
    logger: {
      level: 'warn',
      stream: { write: (line: string) => void warnings.push(line) },
    },
  })
  await app.register(scaleCache, { prefix: uniquePrefix(), ...options })
  await app.ready()
  ends.push(() => app.close())
  return { app, warnings }
}

/** Levels of the hits of a key from now on. */
function levels(key: string): string[] {
  const seen: string[] = []
  ends.push(
    hitChannel.subscribe((message) => {
      if (message.key === key) seen.push(message.level)
    }),
  )
  return seen
}

test('what is in memory goes when another process deletes it, when it runs out, and when Redis is flushed', async () => {
  const prefix = uniquePrefix()
  const [{ app: one }, { app: two }] = [
    await start({ redis: redis.url, prefix }),
    await start({ redis: redis.url, prefix }),
  ]
  await remembered(one.cache, 'k', () => 'value')
  await two.cache.delete('k')
  expect(await one.cache.get('k')).toBeUndefined()

  await remembered(one.cache, 'flushed', () => 'value')
  await admin.flushall()
  await waitFor(async () => (await one.cache.get('flushed')) === undefined)

  await one.cache.getOrSet('short', () => 1, { ttl: 100 })
  await one.cache.getOrSet('short', () => 1, { ttl: 100 })
  await waitFor(async () => (await one.cache.getOrSet('short', () => 2, { ttl: 100 })) === 2)
})

test('a Redis that was flushed is used again at once: one load, and not one for each call', async () => {
  const { app } = await start({ redis: redis.url })
  await remembered(app.cache, 'k', () => 'value')
  await admin.flushall()
  // Until its message has come.
  await waitFor(async () => (await app.cache.getOrSet('k', () => 'new')) === 'new')
  let loads = 0
  await waitFor(async () => {
    loads = 0
    for (let i = 0; i < 3; i++) await app.cache.getOrSet('k', () => ++loads)
    return loads === 0
  })
  expect(await app.cache.get('k')).not.toBe('value')
})

test('memory is not used while its link is down or silent, and is used again afterwards', async () => {
  let link: number | undefined
  const proxy: FaultProxy = await faultProxy({ target: redis.url })
  ends.push(() => proxy.stop())
  const prefix = uniquePrefix()
  const [{ app: one }, { app: two }] = [
    await start({ redis: proxy.url, prefix }),
    await start({ redis: redis.url, prefix }),
  ]
  await remembered(one.cache, 'k', () => 'value')
  // The link hangs and stays open, as with a peer that vanished; commands go on.
  proxy.intercept = ({ direction, chunk, connection }) => {
    if (link === undefined && chunk.includes('invalidate')) link = connection
    if (connection === link && direction !== undefined && chunk.includes('invalidate')) return 'hang'
    return chunk
  }
  const armed: boolean[] = []
  ends.push(trackingChannel.subscribe((message) => armed.push(message.armed)))
  await two.cache.delete('k')
  await two.cache.set('k', 'new')
  await waitFor(() => armed.includes(false))
  expect(await one.cache.getOrSet('k', () => 'other')).toBe('new')
  proxy.intercept = undefined
  proxy.cut()
  await waitFor(() => armed.at(-1) === true)
  await remembered(one.cache, 'k', () => 'value')
})

test('a link that was closed counts as down before anything is read, also where the process was busy', async () => {
  const prefix = uniquePrefix()
  const { app } = await start({ redis: redis.url, prefix })
  // Another thread, so that this one can stand still in the middle of reading its sockets.
  const done = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
    const socket = require('node:net').connect(workerData.port, workerData.host)
    let replies = ''
    socket.on('data', (chunk) => {
      replies += chunk
      if (replies.split('\\r\\n').length < 3) return
      replies = ''
      // As invalidations do before they resolve.
      setTimeout(() => {
        Atomics.add(workerData.done, 0, 1)
        Atomics.notify(workerData.done, 0)
      }, 5)
    })
    parentPort.on('message', (commands) => socket.write(commands))`,
    { eval: true, workerData: { host: redis.host, port: redis.port, done } },
  )
  ends.push(() => worker.terminate())
  for (let i = 0; i < 5; i++) {
    await remembered(app.cache, 'k', () => 'value')
    await admin.ping()
    // The link ends, and then the key goes, of which nobody is told any more.
    worker.postMessage(`CLIENT KILL TYPE pubsub\r\nDEL ${prefix}:1:v:{:k}\r\n`)
    expect(Atomics.wait(done, 0, i, 10_000)).not.toBe('timed-out')
    expect(await app.cache.getOrSet('k', () => 'new')).toBe('new')
    await app.cache.delete('k')
  }
})

test('an invalidation resolves after the messages about it have arrived everywhere', async () => {
  // Messages take 20 ms to this process, and their settling time is longer.
  const proxy: FaultProxy = await faultProxy({ target: redis.url })
  ends.push(() => proxy.stop())
  const prefix = uniquePrefix()
  const [{ app: far }, { app: near }] = [
    await start({ redis: proxy.url, prefix, commandTimeout: '1s' }),
    await start({ redis: redis.url, prefix, l1: { settle: 150 } }),
  ]
  proxy.latency(20)
  for (let i = 0; i < 4; i++) {
    await remembered(far.cache, 'k', () => 'value')
    await (i % 2 === 0 ? near.cache.delete('k') : near.cache.expire('k'))
    expect(await far.cache.getOrSet('k', () => 'new')).toBe('new')
    await far.cache.delete('k')
  }
})

test('a Redis that refuses CLIENT TRACKING: one warning, nothing in memory, everything else the same', async () => {
  await admin.acl('SETUSER', 'guarded', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking')
  const url = redis.url.replace('redis://', 'redis://guarded:secret@')
  const prefix = uniquePrefix()
  const [{ app: one, warnings }, { app: two }] = [
    await start({ redis: url, prefix }),
    await start({ redis: url, prefix }),
  ]
  const seen = levels('k')
  for (let i = 0; i < 5; i++) expect(await one.cache.getOrSet('k', () => 1, { tags: 't' })).toBe(1)
  expect(new Set(seen)).toEqual(new Set(['l2']))
  await two.cache.invalidateTags('t')
  expect(await one.cache.getOrSet('k', () => 2, { tags: 't' })).toBe(2)
  await two.cache.delete('k')
  expect(await one.cache.getOrSet('k', () => 3)).toBe(3)
  await two.cache.clear()
  expect(await one.cache.get('k')).toBeUndefined()
  // Connections made anew are refused anew, and say nothing.
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await waitFor(async () => (await one.cache.getOrSet('k', () => 4)) === 4 && (await one.cache.get('k')) === 4)
  expect(warnings.filter((line) => line.includes('CLIENT TRACKING'))).toHaveLength(1)
})

test('memory is bounded in bytes', async () => {
  const { app } = await start({ redis: redis.url, l1: { maxSize: '100KB' } })
  const big = 'x'.repeat(20_000)
  for (let round = 0; round < 2; round++) for (let i = 0; i < 20; i++) await app.cache.getOrSet(`big${i}`, () => big)
  const seen = [levels('big0'), levels('big19')]
  await app.cache.getOrSet('big19', () => big)
  await app.cache.getOrSet('big0', () => big)
  expect(seen).toEqual([['l2'], ['l1']])
})

test("a caller's change to what it was given reaches nobody else", async () => {
  for (const values of ['frozen', 'cloned'] as const) {
    const { app } = await start({ redis: redis.url, l1: { values } })
    const load = (): { list: number[] } => ({ list: [1] })
    for (let i = 0; i < 4; i++) {
      const value = await app.cache.getOrSet('k', load)
      expect(value).toEqual({ list: [1] })
      try {
        value.list.push(2)
      } catch (error) {
        expect(values).toBe('frozen')
        expect(error).toBeInstanceOf(TypeError)
      }
    }
  }
})
