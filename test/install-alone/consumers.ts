/** How a plain service uses one package: what it passes to `register`, and what it then does. Must end with an answer. */
export interface Consumer {
  options: string
  /** Statements over `app`, after `await app.ready()`; sets `answer`. */
  use: string
  /** What `answer` must then be. */
  expected: unknown
  /** Routes, added before `ready`. */
  routes?: string
}

export const consumers: Record<string, Consumer> = {
  auth: {
    options: `{ secret: 'a secret of more than thirty-two characters', issuer: 'me', audience: 'me' }`,
    routes: `app.get('/me', { onRequest: app.authenticate }, async (request) => ({ sub: request.user.sub }))`,
    use: `const { accessToken } = await app.auth.login({ sub: 'u1', roles: ['user'] })
  const response = await app.inject({ url: '/me', headers: { authorization: \`Bearer \${accessToken}\` } })
  const refused = await app.inject({ url: '/me' })
  const answer = [response.json(), refused.statusCode]`,
    expected: [{ sub: 'u1' }, 401],
  },
  cache: {
    options: `{ redis: process.env['REDIS_URL']!, prefix: 'alone:', ttl: '1m' }`,
    use: `let loads = 0
  const load = async () => ({ loads: ++loads })
  await app.cache.getOrSet('k', load)
  const answer = await app.cache.getOrSet('k', load)`,
    expected: { loads: 1 },
  },
  compress: {
    options: `{}`,
    routes: `app.get('/big', async () => ({ text: 'x'.repeat(5000) }))`,
    use: `const response = await app.inject({ url: '/big', headers: { 'accept-encoding': 'gzip' } })
  const answer = response.headers['content-encoding']`,
    expected: 'gzip',
  },
  storage: {
    options: `{ bucket: 'photos', region: 'us-east-1', endpoint: 'http://127.0.0.1:9', publicBaseUrl: 'https://cdn.example.com', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }`,
    use: `const answer = app.storage.url('photos/1.png')`,
    expected: 'https://cdn.example.com/photos/1.png',
  },
  realtime: {
    options: `{ redis: process.env['REDIS_URL']!, authenticate: async () => ({ sub: 'u1' }), authorizeRoom: () => true, rooms: { 'room:*': { history: 10, ttl: '1m' } } }`,
    use: `await app.realtime.publish('room:1', 'hello', { n: 1 })
  const answer = app.io.of('/').name`,
    expected: '/',
  },
  settings: {
    options: `{ redis: process.env['REDIS_URL']!, prefix: 'alone:', schema: { maintenance: { type: 'boolean', default: false } } }`,
    use: `await app.settings.set('maintenance', true)
  const answer = app.settings.get('maintenance')`,
    expected: true,
  },
  jobs: {
    options: `{ redis: process.env['REDIS_URL']!, prefix: 'alone', queues: { mail: { concurrency: 1 } } }`,
    routes: `const mail = app.jobs.define('mail.send', { schema: { type: 'object', properties: { to: { type: 'string' } }, required: ['to'] } }, async (data) => ({ sent: (data as { to: string }).to }))`,
    use: `const job = await mail.add({ to: 'a@example.com' })
  const answer = await app.jobs.waitUntilFinished(job.id)`,
    expected: { sent: 'a@example.com' },
  },
  cluster: {
    options: `{}`,
    use: `const answer = app.cluster.worker.count`,
    expected: 1,
  },
}

/** The same service as an ES module, as CommonJS and as TypeScript. */
export function sources(name: string): Record<'app.mjs' | 'app.cjs' | 'app.ts', string> {
  const { options, routes = '', use } = consumers[name] as Consumer
  const body = `const app = Fastify()
  await app.register(plugin, ${options})
  ${routes}
  await app.ready()
  ${use}
  await app.close()
  process.stdout.write(JSON.stringify(answer))`
  const plain = body.replaceAll("']!", "']").replaceAll(/\((\w+) as [^)]*\)/g, '$1')
  return {
    'app.mjs': `import Fastify from 'fastify'\nimport plugin from '@fastify-scale/${name}'\n${plain}\n`,
    'app.cjs': `const Fastify = require('fastify')\nconst plugin = require('@fastify-scale/${name}')\nasync function main() {\n  ${plain}\n}\nmain()\n`,
    'app.ts': `import Fastify from 'fastify'\nimport plugin from '@fastify-scale/${name}'\nasync function main(): Promise<void> {\n  ${body}\n}\nvoid main()\n`,
  }
}
