import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { expect } from 'vitest'
import type { Names } from './ours.ts'

/** A plugin that a service has already, and what the service does with it. */
export interface Theirs {
  register(app: FastifyInstance): Promise<void>
  /** Routes that use it, added when everything is registered. */
  routes(app: FastifyInstance): void
  /** Asks the running service, and expects what it answered before ours came. */
  check(url: string, app: FastifyInstance): Promise<void>
  /** Names that ours must be given, since theirs are the same. */
  names?: Partial<Names>
  /** Registered after ours, it is theirs to register: `multipart: false`. */
  ownsMultipart?: true
  /** What a registration of ours with its own names is told, by the name that is taken. */
  taken?: Record<string, string>
}

const SECRET = 'a secret of theirs that is long enough for it'
const TEXT = JSON.stringify({ text: 'compressible '.repeat(500) })
export const folder: string = mkdtempSync(join(tmpdir(), 'fastify-scale-beside-'))
writeFileSync(join(folder, 'page.txt'), 'a file')

// By a name that the compiler does not follow: their types would take the names of ours in every file of this repository.
const load = async (name: string): Promise<FastifyPluginAsync<Record<string, unknown>>> =>
  ((await import(/* @vite-ignore */ `@fastify/${name}`)) as { default: FastifyPluginAsync<Record<string, unknown>> })
    .default
// oxlint-disable-next-line typescript/no-explicit-any
type Any = FastifyInstance & Record<string, any>

/** Sends one text over a websocket (RFC 6455) and resolves with the answer: Node 20 has no client for it. */
function echo(url: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = {
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
    }
    const request = get(url, { headers, agent: false })
    request.on('error', reject)
    request.on('response', ({ statusCode }) => reject(new Error(`no upgrade: ${statusCode}`)))
    request.on('upgrade', (_response, socket) => {
      // Final frames of text, the client's with a mask of zeros.
      socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]))
      socket.once('data', (frame: Buffer) => {
        socket.destroy()
        resolve(frame.subarray(2, 2 + (frame[1] as number)).toString())
      })
    })
  })
}

export const theirs: Record<string, Theirs> = {
  '@fastify/jwt': {
    async register(app) {
      await app.register(await load('jwt'), { secret: SECRET })
    },
    routes(app) {
      app.get('/their-token', async () => ({ token: (app as Any)['jwt'].sign({ theirs: true }) }))
      app.get('/their-user', async (request) => {
        await (request as unknown as { jwtVerify(): Promise<void> }).jwtVerify()
        return (request as unknown as { user: object }).user
      })
    },
    async check(url) {
      const { token } = (await (await fetch(`${url}/their-token`)).json()) as { token: string }
      const response = await fetch(`${url}/their-user`, { headers: { authorization: `Bearer ${token}` } })
      expect(await response.json()).toMatchObject({ theirs: true })
      expect((await fetch(`${url}/their-user`)).status).toBe(401)
    },
    names: { user: 'account' },
    taken: { user: 'SCALE_AUTH_OPTION' },
  },
  '@fastify/auth': {
    async register(app) {
      await app.register(await load('auth'))
    },
    routes(app) {
      const no = (): void => {
        throw Object.assign(new Error('not you'), { statusCode: 401 })
      }
      const yes = async (): Promise<void> => undefined
      const guard = (app as Any)['auth'] as unknown as (all: unknown[], options?: object) => never
      app.get('/their-either', { preHandler: guard.call(app, [no, yes]) }, async () => ({ ok: true }))
      app.get('/their-both', { preHandler: guard.call(app, [no, yes], { relation: 'and' }) }, async () => ({}))
    },
    async check(url) {
      expect((await fetch(`${url}/their-either`)).status).toBe(200)
      expect((await fetch(`${url}/their-both`)).status).toBe(401)
    },
    names: { auth: 'tokens' },
    taken: { auth: 'SCALE_AUTH_OPTION' },
  },
  '@fastify/caching': {
    async register(app) {
      await app.register(await load('caching'), { privacy: 'public', expiresIn: 300 })
    },
    routes(app) {
      app.get('/their-cached', async (_request, reply) => {
        ;(reply as unknown as { etag(tag: string): void }).etag('theirs')
        return { ok: true }
      })
    },
    async check(url) {
      const first = await fetch(`${url}/their-cached`)
      expect(first.headers.get('cache-control')).toBe('public, max-age=300')
      const etag = first.headers.get('etag') as string
      expect(etag).toContain('theirs')
      expect((await fetch(`${url}/their-cached`, { headers: { 'if-none-match': etag } })).status).toBe(304)
    },
    names: { cache: 'scaleCache' },
    taken: { cache: 'SCALE_CACHE_OPTION' },
  },
  '@fastify/compress': {
    async register(app) {
      await app.register(await load('compress'), { threshold: 100, encodings: ['br', 'gzip'] })
    },
    routes(app) {
      app.get('/their-text', async (_request, reply) => reply.type('application/json').send(TEXT))
    },
    async check(url) {
      // Compressed once, by whichever: what arrives is the text.
      for (const encoding of ['gzip', 'br', 'identity']) {
        const response = await fetch(`${url}/their-text`, { headers: { 'accept-encoding': encoding } })
        expect(response.headers.get('content-encoding')).toBe(encoding === 'identity' ? null : encoding)
        expect(await response.text()).toBe(TEXT)
      }
    },
  },
  '@fastify/multipart': {
    ownsMultipart: true,
    async register(app) {
      await app.register(await load('multipart'), { limits: { fileSize: 1_000_000 } })
    },
    routes(app) {
      app.post('/their-form', async (request) => {
        const part = await (request as unknown as Any)['file']()
        return { name: part.filename, size: (await part.toBuffer()).length }
      })
    },
    async check(url) {
      const form = new FormData()
      form.set('file', new Blob(['12345']), 'a.txt')
      const response = await fetch(`${url}/their-form`, { method: 'POST', body: form })
      expect(await response.json()).toEqual({ name: 'a.txt', size: 5 })
    },
  },
  '@fastify/websocket': {
    async register(app) {
      await app.register(await load('websocket'))
    },
    routes(app) {
      const options = { websocket: true } as object
      app.get('/their-socket', options, ((socket: { on(event: string, on: (data: Buffer) => void): void }) => {
        socket.on('message', (data) => (socket as unknown as { send(text: string): void }).send(`echo ${String(data)}`))
      }) as never)
    },
    async check(url) {
      expect(await echo(`${url}/their-socket`, 'hello')).toBe('echo hello')
    },
  },
  '@fastify/static': {
    async register(app) {
      await app.register(await load('static'), { root: folder, prefix: '/their-files/' })
    },
    routes(app) {
      app.get('/their-file', async (_request, reply) => (reply as unknown as Any)['sendFile']('page.txt'))
    },
    async check(url) {
      for (const path of ['/their-files/page.txt', '/their-file'])
        expect(await (await fetch(`${url}${path}`)).text()).toBe('a file')
    },
  },
  '@fastify/cookie': {
    async register(app) {
      await app.register(await load('cookie'), { secret: SECRET })
    },
    routes(app) {
      app.get('/their-cookie', async (request, reply) => {
        void (reply as unknown as Any)['setCookie']('theirs', 'set')
        return (request as unknown as Any)['cookies']
      })
    },
    async check(url) {
      const response = await fetch(`${url}/their-cookie`, { headers: { cookie: 'a=1' } })
      expect(response.headers.get('set-cookie')).toMatch(/^theirs=set/)
      expect(await response.json()).toEqual({ a: '1' })
    },
  },
  '@fastify/cors, helmet, rate-limit, sensible': {
    async register(app) {
      await app.register(await load('cors'), { origin: 'https://theirs.example' })
      await app.register(await load('helmet'))
      await app.register(await load('rate-limit'), { max: 1_000 })
      await app.register(await load('sensible'))
    },
    routes(app) {
      app.get('/their-headers', { config: { rateLimit: { max: 2 } } }, async () => ({ ok: true }))
      app.get('/their-error', async () => {
        throw (app as Any)['httpErrors'].imateapot()
      })
    },
    async check(url) {
      const ask = () => fetch(`${url}/their-headers`, { headers: { origin: 'https://theirs.example' } })
      const { headers } = await ask()
      expect(headers.get('access-control-allow-origin')).toBe('https://theirs.example')
      expect(headers.get('content-security-policy')).toContain('default-src')
      expect([(await ask()).status, (await ask()).status]).toEqual([200, 429])
      expect((await fetch(`${url}/their-error`)).status).toBe(418)
    },
  },
}
