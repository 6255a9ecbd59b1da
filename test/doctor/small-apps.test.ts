import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { doctor, findingsOf } from './run.ts'

// Each an app with one thing that is easily judged wrongly.
let work: string
beforeAll(async () => {
  // Inside this folder, so that the apps find their dependencies.
  work = await mkdtemp(join(new URL('.', import.meta.url).pathname, 'tmp-'))
  await writeFile(join(work, 'package.json'), '{ "name": "small", "type": "module" }')
})
afterAll(() => rm(work, { recursive: true, force: true }))

let made = 0
async function app(body: string): Promise<string> {
  const file = join(work, `app-${++made}.js`)
  await writeFile(file, body)
  return file
}

/** An app of these routes. */
const plugin = (body: string): Promise<string> => app(`export default async function app(fastify) {\n${body}\n}`)

/** The arguments for these recorded requests. */
async function recorded(requests: unknown): Promise<string[]> {
  const file = join(work, `requests-${++made}.json`)
  await writeFile(file, JSON.stringify(requests))
  return ['--requests', file]
}

const MINE = 'const mine = process.hrtime.bigint().toString()\n'

describe('an app that ends in the middle', () => {
  test('is told with the reason, and is never taken for one without findings', async () => {
    const file = await plugin(`
      fastify.get('/first', async () => {
        setImmediate(() => { throw new RangeError('out of the handler') })
        return 'ok'
      })
      fastify.get('/second', async () => 'ok')`)
    const { code, out, err } = await doctor(file)
    expect(code).toBe(1)
    expect(out).toBe('')
    expect(err).toMatch(/the app ended before it answered GET \/\w+, with code \d+: RangeError: out of the handler/)
    expect(err.trim().split('\n')).toHaveLength(1)
  })
})

describe('an app with createServer()', () => {
  test('is asked for the routes that it has by then, and its plugins are judged', async () => {
    const file = await app(`import Fastify from 'fastify'
      import rateLimit from '@fastify/rate-limit'
      ${MINE}
      export function createServer(options) {
        const fastify = Fastify(options)
        fastify.register(rateLimit, { max: 10_000 })
        fastify.get('/mine', async () => ({ mine }))
        return fastify
      }`)
    const { findings } = await findingsOf(file)
    expect(findings.map(({ kind, message }) => [kind, message.slice(0, 9)])).toEqual([
      ['differs-by-worker', 'GET /mine'],
      ['store-in-process', '@fastify/'],
    ])
  })
})

describe('who answered is no state', () => {
  test('a process may name itself, in a field, in a text and in a list', async () => {
    const file = await plugin(`
      fastify.get('/health', async () => ({ ok: true, pid: process.pid, who: [\`vm/\${process.pid}\`] }))
      fastify.get('/page', async () => \`<p>worker \${process.pid}</p>\`)`)
    expect(await findingsOf(file)).toMatchObject({ findings: [], requests: 18 })
  })

  test('beside it, state is seen as ever', async () => {
    const file = await app(`${MINE}
      export default async function app(fastify) {
        fastify.get('/mine', async () => ({ pid: process.pid, mine }))
      }`)
    expect((await findingsOf(file)).findings).toMatchObject([{ kind: 'differs-by-worker' }])
  })
})

test('@fastify/caching that only sets headers keeps nothing', async () => {
  const file = await app(`import caching from '@fastify/caching'
    export default async function app(fastify) {
      await fastify.register(caching, { privacy: 'public', expiresIn: 60, serverExpiresIn: 300 })
      fastify.get('/', async () => 'hello')
    }`)
  expect((await findingsOf(file)).findings).toEqual([])
})

test('an interval that a request starts is its own', async () => {
  const file = await plugin(`
    fastify.get('/ping', async () => {
      const timer = setInterval(() => undefined, 60_000)
      setImmediate(() => clearInterval(timer))
      return 'ok'
    })`)
  expect((await findingsOf(file)).findings).toEqual([])
})

describe('Socket.IO', () => {
  const io = (create: string): Promise<string> =>
    app(`import { Server } from 'socket.io'
      export default async function app(fastify) {
        ${create}
        fastify.addHook('onClose', () => io.close())
      }`)

  test('that recovers connections keeps them in the process, and has no adapter', async () => {
    const file = await io(
      `const io = new Server(fastify.server, { transports: ['websocket'], connectionStateRecovery: {} })`,
    )
    expect((await findingsOf(file)).findings).toMatchObject([{ kind: 'socketio-no-adapter' }])
  })

  test('is judged by what it was attached with', async () => {
    const file = await io(`const io = new Server()\nio.attach(fastify.server, { transports: ['websocket'] })`)
    expect((await findingsOf(file)).findings).toMatchObject([{ kind: 'socketio-no-adapter' }])
  })
})

describe('recorded requests', () => {
  test('of several users to the same URL are all compared', async () => {
    const file = await app(`${MINE}
      export default async function app(fastify) {
        fastify.get('/me', async ({ headers }) => (headers['x-user'] === 'admin' ? { mine } : {}))
      }`)
    const users = ['admin', 'anna'].map((user) => ({ url: '/me', headers: { 'x-user': user } }))
    expect((await findingsOf(file, await recorded(users))).findings).toMatchObject([{ kind: 'differs-by-worker' }])
  })

  test('have any JSON as a body', async () => {
    const file = await app(`const seen = []
      export default async function app(fastify) {
        fastify.get('/seen', async () => seen)
        fastify.post('/seen', async ({ body }) => { seen.push(body) })
      }`)
    const { findings } = await findingsOf(file, await recorded([{ method: 'POST', url: '/seen', body: 5 }]))
    expect(findings).toMatchObject([{ kind: 'state-in-process' }])
  })

  test.each([
    { method: 'FOO', url: '/' },
    { url: '/', headers: 'x-user: anna' },
    { url: '/', headers: { 'x-user': ['anna'] } },
  ])('%j is refused', async (request) => {
    const { code, err } = await doctor(await plugin(''), await recorded([request]))
    expect(code).toBe(2)
    expect(err).toMatch(/must hold a list of/)
  })
})

describe('what could not be looked at is said', () => {
  test('routes that only refused, with how', async () => {
    const file = await app(`let visits = 0
      export default async function app(fastify) {
        fastify.addHook('onRequest', async ({ headers }, reply) => {
          if (!headers.authorization) return reply.code(401).send({ error: 'who are you?' })
        })
        fastify.get('/visits', async () => ({ visits: ++visits }))
      }`)
    expect(await findingsOf(file)).toMatchObject({ findings: [], refused: ['GET /visits: 401'] })
    expect((await doctor(file)).out).toContain('- GET /visits was refused with 401')
    const known = await findingsOf(file, await recorded([{ url: '/visits', headers: { authorization: 'me' } }]))
    expect(known).toMatchObject({ findings: [{ kind: 'state-in-process' }], refused: [] })
  })

  test('an app without a route that can be asked', async () => {
    const { code, out } = await doctor(await plugin(`fastify.get('/users/:id', async () => 'anna')`))
    expect(code).toBe(0)
    expect(out).toContain('- nothing was asked')
  })
})
