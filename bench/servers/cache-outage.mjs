// 100 gets a second while Redis is frozen for 2 s, or killed and started again: the slowest get, and how long after the
// return of Redis it was used again. KIND: ours, bento, dedupe, manager. FAULT: freeze or kill.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { startRedis } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'

const { KIND: kind, FAULT: fault, TOOLS: tools } = process.env
const load = async (name) => import(pathToFileURL(createRequire(`${tools}/package.json`).resolve(name)).href)
const loader = async () => 'loaded'
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const redis = await startRedis()
let unhandled = 0
process.on('unhandledRejection', () => unhandled++)

let get
let isBack
if (kind === 'ours') {
  const { default: scaleCache } = await import('@fastify-scale/cache')
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  await app.register(scaleCache, { redis: redis.url })
  await app.ready()
  get = (key) => app.cache.getOrSet(key, loader, { ttl: 200 })
  isBack = async () => {
    try {
      await app.cache.set('back', 1)
      return (await app.cache.get('back')) === 1
    } catch {
      return false
    }
  }
} else if (kind === 'bento') {
  const { BentoCache, bentostore } = await load('bentocache')
  const { redisDriver } = await load('bentocache/drivers/redis')
  const connection = { host: '127.0.0.1', port: Number(new URL(redis.url).port) }
  const cache = new BentoCache({
    default: 'one',
    stores: { one: bentostore().useL2Layer(redisDriver({ connection })) },
  })
  get = (key) => cache.getOrSet({ key, factory: loader, ttl: 200 })
} else if (kind === 'dedupe') {
  const { createCache } = await load('async-cache-dedupe')
  const client = new Redis(redis.url)
  client.on('error', () => undefined)
  const cache = createCache({ ttl: 1, storage: { type: 'redis', options: { client } } })
  cache.define('rows', loader)
  get = (key) => cache.rows(key)
} else {
  const { createCache } = await load('cache-manager')
  const { Keyv } = await load('keyv')
  const redisModule = await load('@keyv/redis')
  const KeyvRedis = redisModule.KeyvRedis ?? redisModule.default.default ?? redisModule.default
  const store = new Keyv({ store: new KeyvRedis(redis.url) })
  store.on('error', () => undefined)
  const cache = createCache({ stores: [store], ttl: 200 })
  get = (key) => cache.wrap(key, loader)
}

let slowest = 0
let errors = 0
const calls = []
let n = 0
async function measured() {
  const start = performance.now()
  try {
    if ((await get(`k${n++ % 20}`)) !== 'loaded') errors++
  } catch {
    errors++
  }
  slowest = Math.max(slowest, performance.now() - start)
}
for (let i = 0; i < 100; i++) await measured()
slowest = 0
const timer = setInterval(() => calls.push(measured()), 10)
await pause(500)
if (fault === 'freeze') redis.freeze()
else await redis.kill()
await pause(2_000)
if (fault === 'freeze') redis.thaw()
else await redis.restart()
const returned = performance.now()
let backMs
if (isBack) {
  while (!(await isBack())) await pause(5)
  backMs = performance.now() - returned
}
await pause(500)
clearInterval(timer)
// A call that has no answer 10 s after Redis is back is as slow as that.
await Promise.race([Promise.all(calls), pause(10_000).then(() => (slowest = Math.max(slowest, 10_000)))])
const failures = kind === 'ours' ? errors + unhandled : 0
process.stdout.write(`${JSON.stringify({ slowest, backMs, errors, calls: calls.length, failures })}\n`)
redis.thaw()
await redis.stop()
process.exit(0)
