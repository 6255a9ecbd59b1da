// Reads cached values many times; prints CPU us and wall ns per read. KIND: raw, ours, bento, dedupe, manager. TIER: l1 (one key,
// one read at a time) or l2 (sixteen keys, each read once at a time, so that nobody can join reads). L1: ours with memory too.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { jsonOf } from './print-url.mjs'

const { KIND: kind, TIER: tier, BYTES: bytes, REDIS_URL: url, TOOLS: tools } = process.env
const value = jsonOf(Number(bytes))
const keys = Array.from({ length: 16 }, (_, i) => `key${i}`)
const load = async (name) => import(pathToFileURL(createRequire(`${tools}/package.json`).resolve(name)).href)
const closers = []
let read
if (kind === 'raw') {
  const redis = new Redis(url)
  for (let i = 0; i < 16; i++) await redis.set(`raw${i}`, JSON.stringify(value))
  read = async (i) => JSON.parse(await redis.get(`raw${i}`))
  closers.push(() => redis.disconnect())
} else if (kind === 'ours') {
  const { default: scaleCache } = await import('@fastify-scale/cache')
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  await app.register(scaleCache, {
    redis: url,
    prefix: `b${process.pid}`,
    ttl: '5m',
    l1: tier === 'l1' || process.env.L1 ? {} : false,
  })
  await app.ready()
  const loader = async () => value
  const options = process.env.TAGGED ? { tags: ['one', 'two'] } : {}
  read = (i) => app.cache.getOrSet(keys[i], loader, options)
  closers.push(() => app.close())
} else if (kind === 'bento') {
  const { BentoCache, bentostore } = await load('bentocache')
  const { memoryDriver } = await load('bentocache/drivers/memory')
  const { redisDriver } = await load('bentocache/drivers/redis')
  const store = bentostore()
  if (tier === 'l1') store.useL1Layer(memoryDriver({ maxSize: '10mb' }))
  store.useL2Layer(redisDriver({ connection: { host: '127.0.0.1', port: Number(new URL(url).port) } }))
  const cache = new BentoCache({ default: 'one', stores: { one: store } })
  read = (i) => cache.getOrSet({ key: keys[i], factory: async () => value, ttl: '5m' })
  closers.push(() => cache.disconnectAll())
} else if (kind === 'dedupe') {
  const { createCache } = await load('async-cache-dedupe')
  const redis = new Redis(url)
  const cache = createCache({
    ttl: 300,
    storage: tier === 'l1' ? { type: 'memory' } : { type: 'redis', options: { client: redis } },
  })
  cache.define('rows', async () => value)
  read = (i) => cache.rows(keys[i])
  closers.push(() => redis.disconnect())
} else {
  const { createCache } = await load('cache-manager')
  const { Keyv } = await load('keyv')
  const redisModule = await load('@keyv/redis')
  const KeyvRedis = redisModule.KeyvRedis ?? redisModule.default.default ?? redisModule.default
  const store = tier === 'l1' ? new Keyv() : new Keyv({ store: new KeyvRedis(url) })
  const cache = createCache({ stores: [store], ttl: 300_000 })
  read = (i) => cache.wrap(keys[i], async () => value)
  closers.push(() => store.disconnect())
}

const count = tier === 'l1' ? 300_000 : 40_000
const batch = tier === 'l1' ? 1 : 16
async function run(times) {
  for (let i = 0; i < times; i += batch) {
    if (batch === 1) await read(0)
    else await Promise.all(Array.from({ length: batch }, (_, n) => read(n)))
  }
}
// As many as are counted: what is compared is a service that runs, not how fast it is compiled.
await run(count)
const cpu = process.cpuUsage()
const start = process.hrtime.bigint()
await run(count)
const wall = Number(process.hrtime.bigint() - start)
const used = process.cpuUsage(cpu)
process.stdout.write(`${JSON.stringify({ cpuUs: (used.user + used.system) / count, wallNs: wall / count })}\n`)
for (const close of closers) close()
process.exit(0)
