// Fills a cache with KEYS entries, each with a tag of its own and one that all carry; prints what a hit in Redis, the
// invalidation of a tag of one entry, and that of the tag of all cost.
import scaleCache from '@fastify-scale/cache'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { jsonOf } from './print-url.mjs'

const keys = Number(process.env.KEYS)
const admin = new Redis(process.env.REDIS_URL)
await admin.flushall()
const app = Fastify()
await app.register(scaleCache, { redis: process.env.REDIS_URL, ttl: '10m', l1: false })
await app.ready()
const value = jsonOf(1_024)
const name = (i) => `key:${i}`

async function all(count, task) {
  let next = 0
  const worker = async () => {
    while (next < count) await task(next++)
  }
  await Promise.all(Array.from({ length: 64 }, worker))
}
await all(keys, (i) => app.cache.set(name(i), value, { tags: ['all', `tag:${i}`] }))

let missing = 0
const random = () => Math.floor(Math.random() * keys)
const hit = async () => {
  if ((await app.cache.get(name(random()))) === undefined) missing++
}
await all(1_000, hit)
const READS = 10_000
const before = process.cpuUsage()
await all(READS, hit)
const used = process.cpuUsage(before)

const took = []
for (let i = 0; i < Math.min(100, keys / 2); i++) {
  const start = performance.now()
  await app.cache.invalidateTags(`tag:${i}`)
  took.push(performance.now() - start)
}
took.sort((a, b) => a - b)
// What was invalidated is gone, and nothing else.
if ((await app.cache.get(name(0))) !== undefined || (await app.cache.get(name(keys - 1))) === undefined) missing++
const start = performance.now()
await app.cache.invalidateTags('all')
const allMs = performance.now() - start
await all(Math.min(keys, 1_000), async (i) => {
  if ((await app.cache.get(name(keys - 1 - i))) !== undefined) missing++
})
process.stdout.write(
  `${JSON.stringify({ hitUs: (used.user + used.system) / READS, tagUs: took[took.length >> 1] * 1_000, allUs: allMs * 1_000, failures: missing })}\n`,
)
process.exit(0)
