import scaleCache from '@fastify-scale/cache'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
const url = 'redis://127.0.0.1:7641'
const app = Fastify()
await app.register(scaleCache, { redis: url, prefix: 'bench1' })
const app2 = Fastify()
await app2.register(scaleCache, { redis: url, prefix: 'bench2', l1: false })
const app3 = Fastify()
await app3.register(scaleCache, { redis: url, prefix: 'bench3', l1: { maxSize: 600 } })
await app.ready()
await app2.ready()
await app3.ready()
const raw = new Redis(url)
const value = (bytes) => ({
  items: Array.from({ length: Math.ceil(bytes / 100) }, (_, i) => ({
    id: i,
    name: 'name-' + i,
    text: 'x'.repeat(40),
    on: true,
    n: i * 1.5,
  })),
})
const wait = (ms) => new Promise((r) => setTimeout(r, ms))
await wait(300)
async function l1(name, options) {
  for (let i = 0; i < 5; i++) {
    await app.cache.getOrSet(name, () => value(1000), options)
    await wait(10)
  }
  for (let round = 0; round < 3; round++) {
    const n = 300_000
    const c = process.cpuUsage()
    const t = performance.now()
    for (let i = 0; i < n; i++) await app.cache.getOrSet(name, () => value(1000), options)
    const cpu = process.cpuUsage(c)
    console.log(
      name,
      'L1 ns/hit wall',
      (((performance.now() - t) * 1e6) / n).toFixed(0),
      'cpu',
      (((cpu.user + cpu.system) * 1e3) / n).toFixed(0),
    )
  }
}
await l1('plain')
await l1('tagged', { tags: ['a', 'b'] })
async function cpu(fn, n) {
  const c = process.cpuUsage()
  for (let i = 0; i < n; i += 20) await Promise.all(Array.from({ length: 20 }, fn))
  const d = process.cpuUsage(c)
  return (d.user + d.system) / n
}
for (const size of [1000, 20000]) {
  const v = value(size)
  const json = JSON.stringify(v)
  await raw.set('raw', json)
  await app2.cache.set('k' + size, v, { ttl: '1h' })
  await app3.cache.set('k' + size, v, { ttl: '1h' })
  await app2.cache.set('t' + size, v, { ttl: '1h', tags: ['a'] })
  await app3.cache.set('t' + size, v, { ttl: '1h', tags: ['a'] })
  const load = () => {
    throw new Error('no')
  }
  const sums = {}
  for (let r = 0; r < 9; r++) {
    for (const [name, fn] of Object.entries({
      raw: async () => JSON.parse(await raw.get('raw')),
      tracked: () => app3.cache.getOrSet('k' + size, load),
      trackedTagged: () => app3.cache.getOrSet('t' + size, load, { tags: ['a'] }),
      l1off: () => app2.cache.getOrSet('k' + size, load),
      get: () => app3.cache.get('k' + size),
    })) {
      const us = await cpu(fn, 4000)
      if (r > 1) (sums[name] ??= []).push(us)
    }
  }
  const med = (a) => a.sort((x, y) => x - y)[a.length >> 1]
  const base = med(sums.raw)
  console.log(
    json.length,
    'bytes; us CPU:',
    Object.fromEntries(
      Object.entries(sums).map(([k, a]) => [k, med(a).toFixed(1) + ' x' + (med(a) / base).toFixed(2)]),
    ),
  )
}
raw.disconnect()
await app.close()
await app2.close()
await app3.close()
