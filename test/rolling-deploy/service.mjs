// One process of a service, made of the packages of one release.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'
import { Redis } from 'ioredis'

const { root, label, port, redis, s3, secret } = JSON.parse(process.argv[2])
const load = async (name) => (await import(pathToFileURL(join(root, 'packages', name, 'dist/index.js')).href)).default

const app = Fastify({ logger: { level: 'warn' } })
const sessions = { redis }
await app.register(await load('auth'), { secret, issuer: 'shop', sessions })
await app.register(await load('compress'), { threshold: 100 })
await app.register(await load('cache'), { redis, prefix: 'shop:cache', ttl: '1m' })
await app.register(await load('storage'), s3)
await app.register(await load('settings'), {
  redis,
  prefix: 'shop:settings',
  schema: { limit: { type: 'integer', default: 10 }, open: { type: 'boolean', default: true } },
})
await app.register(await load('realtime'), {
  redis,
  prefix: 'shop:realtime',
  authorizeRoom: () => true,
  rooms: { 'orders:*': { history: 100 } },
})
await app.register(await load('cluster'), { redis, name: 'shop', lease: '1s' })

// What the one adds the other runs, in both directions; cron over both.
const jobs = await load('jobs')
for (const worker of ['old', 'new'])
  await app.register(jobs, {
    redis,
    decorator: `${worker}Jobs`,
    prefix: `shop:${worker}`,
    role: worker === label ? 'jobs' : 'web',
    queues: { work: {} },
  })
await app.register(jobs, { redis, prefix: 'shop:jobs', role: 'all' })
const handles = Object.fromEntries(
  ['old', 'new'].map((worker) => [
    worker,
    app[`${worker}Jobs`].define('work.double', ({ n }, { reruns }) => ({ by: label, double: 2 * n, reruns })),
  ]),
)
const notes = new Redis(redis)
notes.on('error', () => undefined)
app.jobs.cron('tick', '* * * * * *', async ({ tick }) => void (await notes.rpush('ticks', tick)))

app.cluster.singleton('only', async ({ signal }) => {
  await notes.rpush('holders', label)
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
})

app.post('/login', ({ body }) => app.auth.login(body))
app.post('/refresh', ({ body }) => app.auth.refresh(body.refreshToken))
app.post('/revoke', async ({ body }) => {
  await app.auth.revoke(body)
  return {}
})
app.get('/me', { onRequest: app.authenticate }, ({ user }) => ({ sub: user.sub, by: label }))

app.get('/value/:key', ({ params }) => app.cache.getOrSet(params.key, () => ({ by: label }), { tags: ['values'] }))
app.delete('/value/:key', async ({ params }) => {
  await app.cache.delete(params.key)
  return {}
})
app.delete('/tag/:tag', async ({ params }) => {
  await app.cache.invalidateTags(params.tag)
  return {}
})
// One key for both: there is no balancer before them that would give them one host.
const cached = { ttl: '1m', tags: 'page', key: () => '/page' }
app.get('/page', { config: { cache: cached } }, async () => ({ by: label, text: 'x'.repeat(500) }))

app.get('/settings', async () => ({ limit: app.settings.get('limit'), versions: app.settings.versions() }))
app.post('/settings', ({ body }) => app.settings.set('limit', body.value, body))

app.post('/publish', async ({ body }) => {
  await app.realtime.publish('orders:1', 'order', body)
  return {}
})

app.post('/jobs/:worker', ({ params, body }) => handles[params.worker].add({ n: body.n }, { idempotencyKey: body.key }))
app.get('/jobs/:worker/:id', ({ params }) => app[`${params.worker}Jobs`].waitUntilFinished(params.id))

app.post('/files', (request) => app.storage.upload(request, { visibility: 'private' }))
app.post('/files/sign', async ({ body }) => ({ url: await app.storage.signedUrl(body.url) }))
app.post('/files/delete', async ({ body }) => {
  await app.storage.delete(body.url)
  return {}
})

await app.listen({ port, host: '127.0.0.1' })
process.on('SIGTERM', () => void app.close().then(() => process.exit(0)))
process.on('disconnect', () => process.exit())
process.send('ready')
