import { Readable } from 'node:stream'
import { brotliDecompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { encodedChannel } from '../src/index.ts'
import { GZIP, createApp, decode, text } from './helpers.ts'

const BODY = text(20_000)

describe('what a handler may send', () => {
  test.each<[string, () => unknown]>([
    ['an object', () => ({ value: BODY })],
    ['a string', () => BODY],
    ['a Buffer', () => Buffer.from(BODY)],
    ['a Uint8Array', () => new Uint8Array(Buffer.from(BODY))],
    ['a Node stream', () => Readable.from([BODY.slice(0, 5_000), BODY.slice(5_000)])],
    ['a web stream', () => new Blob([BODY]).stream()],
    ['a Response', () => new Response(BODY, { headers: { 'content-type': 'text/plain' } })],
  ])('%s arrives whole, compressed, with Vary', async (_name, make) => {
    const app = await createApp()
    app.get('/', async (_request, reply) => {
      const value = make()
      if (
        typeof value === 'object' &&
        !(value instanceof Response) &&
        Object.getPrototypeOf(value) !== Object.prototype
      )
        void reply.type('text/plain')
      return reply.send(value)
    })
    const response = await app.inject({ url: '/', headers: GZIP })
    expect(response.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' })
    expect(response.rawPayload.length).toBeLessThan(2_000)
    const body = decode(response)
    expect(body.startsWith('{') ? (JSON.parse(body) as { value: string }).value : body).toBe(BODY)
    expect([undefined, String(response.rawPayload.length)]).toContain(response.headers['content-length'])
  })

  test('text that begins like a zlib stream is compressed like any other', async () => {
    const app = await createApp()
    const csv = `80,${BODY}`
    app.get('/buffer', (_request, reply) => reply.type('text/csv').send(csv))
    app.get('/stream', (_request, reply) => reply.type('text/csv').send(Readable.from([csv])))
    for (const url of ['/buffer', '/stream']) expect(decode(await app.inject({ url, headers: GZIP }))).toBe(csv)
  })

  test('the synchronous path and the thread pool give the same bytes', async () => {
    const bodies: Buffer[] = []
    for (const syncLimit of [0, '1MB']) {
      const app = await createApp({ syncLimit })
      app.get('/', () => BODY)
      bodies.push((await app.inject({ url: '/', headers: GZIP })).rawPayload)
    }
    expect(bodies[0]?.equals(bodies[1] as Buffer)).toBe(true)
  })

  test('each answer is reported on the channel with its sizes', async () => {
    const app = await createApp()
    app.get('/', () => BODY)
    const seen: unknown[] = []
    const unsubscribe = encodedChannel.subscribe((message) => seen.push(message))
    const response = await app.inject({ url: '/', headers: GZIP })
    unsubscribe()
    expect(seen).toEqual([
      { encoding: 'gzip', bytesIn: BODY.length, bytesOut: response.rawPayload.length, purpose: 'answer' },
    ])
  })
})

describe('which answers vary, and which are encoded', () => {
  // [what, headers and status of the answer, the Content-Encoding and Vary expected for a client that takes gzip]
  const table: [
    string,
    { status?: number; headers?: Record<string, string>; body?: string | Buffer | null },
    string?,
    string?,
  ][] = [
    ['text', {}, 'gzip', 'Accept-Encoding'],
    ['JSON', { headers: { 'content-type': 'application/problem+json; charset=utf-8' } }, 'gzip', 'Accept-Encoding'],
    ['SVG', { headers: { 'content-type': 'IMAGE/SVG+XML' } }, 'gzip', 'Accept-Encoding'],
    ['an error', { status: 500 }, 'gzip', 'Accept-Encoding'],
    ['a small body', { body: 'small' }, undefined, 'Accept-Encoding'],
    ['an empty body', { body: '' }, undefined, 'Accept-Encoding'],
    ['octet-stream', { headers: { 'content-type': 'application/octet-stream' } }],
    ['an image', { headers: { 'content-type': 'image/png' } }],
    ['woff2', { headers: { 'content-type': 'font/woff2' } }],
    ['an archive', { headers: { 'content-type': 'application/zip' } }],
    ['no-transform', { headers: { 'cache-control': 'public, No-Transform' } }],
    ['encoded already', { headers: { 'content-encoding': 'br' } }, 'br', 'Accept-Encoding'],
    ['part of a body', { status: 206, headers: { 'content-range': 'bytes 0-9/20' } }, undefined, 'Accept-Encoding'],
    ['a digest of the content', { headers: { 'content-digest': 'sha-256=:abc=:' } }, undefined, 'Accept-Encoding'],
    ['204', { status: 204, body: null }],
    ['304', { status: 304, body: null }, undefined, 'Accept-Encoding'],
    ['304 of an image', { status: 304, body: null, headers: { 'content-type': 'image/png' } }],
    ['other Vary', { headers: { vary: 'Origin' } }, 'gzip', 'Origin, Accept-Encoding'],
    ['Vary there already', { headers: { vary: 'accept-encoding, Origin' } }, 'gzip', 'accept-encoding, Origin'],
    ['Vary: *', { headers: { vary: '*' } }, 'gzip', '*'],
  ]
  test.each(table)('%s', async (_name, { status = 200, headers = {}, body = BODY }, encoding, vary) => {
    const app = await createApp()
    app.get('/', (_request, reply) => {
      const type = body === null ? undefined : 'text/html'
      void reply.code(status)
      if (type) void reply.type(type)
      void reply.headers(headers)
      return reply.send(body ?? undefined)
    })
    const response = await app.inject({ url: '/', headers: GZIP })
    expect(response.statusCode).toBe(status)
    expect(response.headers['content-encoding']).toBe(encoding)
    expect(response.headers['vary']).toBe(vary)
    // Who asks for identity gets the same Vary and the body as it is.
    const plain = await app.inject({ url: '/' })
    expect(plain.headers['vary']).toBe(vary)
    expect(plain.headers['content-encoding']).toBe(headers['content-encoding'])
    expect(plain.payload).toBe(status === 304 || status === 204 ? '' : String(body))
    expect(plain.headers['content-length']).toBe(body === null ? undefined : String(Buffer.byteLength(plain.payload)))
  })

  test('an answer without any body is not said to be encoded', async () => {
    const app = await createApp()
    app.get('/', (_request, reply) => reply.type('text/html').send())
    app.post('/', (_request, reply) => reply.code(201).type('text/html').send(null))
    app.get('/redirect', (_request, reply) => reply.type('text/html').redirect('/'))
    for (const [method, url] of [
      ['GET', '/'],
      ['POST', '/'],
      ['GET', '/redirect'],
    ] as const) {
      const response = await app.inject({ method, url, headers: GZIP })
      expect(response.headers['content-encoding']).toBeUndefined()
      expect(response.headers['vary']).toBe('Accept-Encoding')
      expect(response.payload).toBe('')
    }
  })

  test('brotli where it was asked for and is preferred', async () => {
    const app = await createApp({ encodings: ['br', 'gzip'] })
    app.get('/', () => BODY)
    const response = await app.inject({ url: '/', headers: { 'accept-encoding': 'gzip, br' } })
    expect(response.headers['content-encoding']).toBe('br')
    expect(brotliDecompressSync(response.rawPayload).toString()).toBe(BODY)
  })

  test('a small body is compressed for a client that refuses identity', async () => {
    const app = await createApp()
    app.get('/', () => 'small')
    const response = await app.inject({ url: '/', headers: { 'accept-encoding': 'gzip, identity;q=0' } })
    expect(response.headers['content-encoding']).toBe('gzip')
    expect(decode(response)).toBe('small')
  })

  test('a client that refuses all gets 406 for reading; what it made us do is answered as it is', async () => {
    const app = await createApp()
    let destroyed = 0
    app.get('/', () => BODY)
    app.post('/', () => BODY)
    app.get('/stream', (_request, reply) => {
      const stream = Readable.from([BODY])
      stream.once('close', () => destroyed++)
      return reply.type('text/plain').send(stream)
    })
    const headers = { 'accept-encoding': 'br, identity;q=0' }
    for (const url of ['/', '/stream']) {
      const response = await app.inject({ url, headers })
      expect(response.statusCode).toBe(406)
      expect(response.headers['vary']).toBe('Accept-Encoding')
      expect(response.json()).toMatchObject({ code: 'SCALE_COMPRESS_NOT_ACCEPTABLE' })
    }
    expect(destroyed).toBe(1)
    expect((await app.inject({ method: 'POST', url: '/', headers })).payload).toBe(BODY)
  })
})

describe('validators', () => {
  test('a strong ETag is weak on encoded answers and their 304, and strong on identity', async () => {
    const app = await createApp()
    app.get('/', (request, reply) => {
      void reply.header('etag', '"v1"').type('text/plain')
      return request.headers['if-none-match'] ? reply.code(304).send() : reply.send(BODY)
    })
    const etag = async (headers: Record<string, string>) => (await app.inject({ url: '/', headers })).headers['etag']
    expect(await etag(GZIP)).toBe('W/"v1"')
    expect(await etag({ ...GZIP, 'if-none-match': 'W/"v1"' })).toBe('W/"v1"')
    expect(await etag({})).toBe('"v1"')
    expect(await etag({ 'if-none-match': '"v1"' })).toBe('"v1"')
  })

  test('Accept-Ranges is not promised for what is encoded on the way', async () => {
    const app = await createApp()
    app.get('/', (_request, reply) => reply.header('accept-ranges', 'bytes').type('text/plain').send(BODY))
    expect((await app.inject({ url: '/', headers: GZIP })).headers['accept-ranges']).toBeUndefined()
    expect((await app.inject({ url: '/' })).headers['accept-ranges']).toBe('bytes')
  })
})

describe('HEAD', () => {
  test.each<[string, () => unknown]>([
    ['a buffer', () => BODY],
    ['a stream', () => Readable.from([BODY])],
  ])('of %s says what GET would, without a length that would be wrong', async (_name, make) => {
    const app = await createApp()
    app.get('/', (_request, reply) => reply.type('text/plain').header('etag', '"v1"').send(make()))
    app.head('/own', (_request, reply) => reply.type('text/plain').header('etag', '"v1"').send(make()))
    for (const url of ['/', '/own']) {
      const head = await app.inject({ method: 'HEAD', url, headers: GZIP })
      expect(head.payload).toBe('')
      expect(head.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding', etag: 'W/"v1"' })
      expect(head.headers['content-length']).toBeUndefined()
    }
  })

  test('of a small body keeps its length', async () => {
    const app = await createApp()
    app.get('/', () => 'small')
    const head = await app.inject({ method: 'HEAD', url: '/', headers: GZIP })
    expect(head.headers).toMatchObject({ 'content-length': '5', vary: 'Accept-Encoding' })
    expect(head.headers['content-encoding']).toBeUndefined()
  })
})
