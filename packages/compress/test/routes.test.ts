import { Readable } from 'node:stream'
import fastifyCompress from '@fastify/compress'
import { type Compressor, findCapability } from '@fastify-scale/kit'
import zlib, { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import scaleCompress, { type CompressOptions } from '../src/index.ts'
import { GZIP, bareApp, createApp, decode, text } from './helpers.ts'

const BODY = text(20_000)

describe('routes', () => {
  test('config.compress: false leaves the answer alone, HEAD too', async () => {
    const app = await createApp()
    app.get('/', { config: { compress: false } }, () => BODY)
    for (const method of ['GET', 'HEAD'] as const) {
      const { headers } = await app.inject({ method, url: '/', headers: GZIP })
      expect(headers['content-encoding']).toBeUndefined()
      expect(headers['vary']).toBeUndefined()
      expect(headers['content-length']).toBe('20000')
    }
  })

  test('config.compress: {} sets what it names and inherits the rest', async () => {
    const app = await createApp({ threshold: '30KB', encodings: ['br', 'gzip'] })
    app.get('/inherits', { config: { compress: { levels: { br: 0 } } } }, () => BODY)
    app.get('/own', { config: { compress: { threshold: 100 } } }, () => BODY)
    const headers = { 'accept-encoding': 'gzip, br' }
    expect((await app.inject({ url: '/inherits', headers })).headers['content-encoding']).toBeUndefined()
    expect((await app.inject({ url: '/own', headers })).headers['content-encoding']).toBe('br')
  })

  test('routes that were added before the plugin was loaded, and the 404 handler, are compressed too', async () => {
    const app = bareApp()
    app.get('/early', () => BODY)
    app.get('/early-off', { config: { compress: false } }, () => BODY)
    app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/html').send(BODY))
    void app.register(scaleCompress)
    for (const url of ['/early', '/nowhere']) {
      const response = await app.inject({ url, headers: GZIP })
      expect(response.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' })
      expect(decode(response)).toBe(BODY)
    }
    expect((await app.inject({ url: '/early-off', headers: GZIP })).payload).toBe(BODY)
  })

  test('HEAD of a route that was added before the plugin was loaded says what GET would', async () => {
    const app = bareApp()
    app.get('/text', () => BODY)
    app.get('/object', () => ({ value: BODY }))
    app.get('/small', () => 'small')
    app.get('/stream', (_request, reply) => reply.type('text/plain').send(Readable.from([BODY])))
    app.head('/own', () => BODY)
    void app.register(scaleCompress)
    for (const url of ['/text', '/object', '/stream', '/own']) {
      const head = await app.inject({ method: 'HEAD', url, headers: GZIP })
      expect([url, head.statusCode, head.payload]).toEqual([url, 200, ''])
      expect(head.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' })
      expect(head.headers['content-length']).toBeUndefined()
    }
    const small = await app.inject({ method: 'HEAD', url: '/small', headers: GZIP })
    expect(small.headers).toMatchObject({ 'content-length': '5', vary: 'Accept-Encoding' })
  })

  test('every other onSend hook sees the body as it is', async () => {
    const app = await createApp()
    await app.register(async (child) => {
      child.addHook('onSend', async (_request, _reply, payload) => `${String(payload)}<child>`)
      child.get('/', { onSend: async (_request, _reply, payload) => `${String(payload)}<route>` }, () => BODY)
    })
    expect(decode(await app.inject({ url: '/', headers: GZIP }))).toBe(`${BODY}<child><route>`)
  })

  test('registered in a child context it does not leak out; registered in both, the nearer one decides', async () => {
    const app = bareApp()
    await app.register(async (child) => {
      await child.register(scaleCompress)
      child.get('/inside', () => BODY)
    })
    app.get('/outside', () => BODY)
    expect((await app.inject({ url: '/inside', headers: GZIP })).headers['content-encoding']).toBe('gzip')
    expect((await app.inject({ url: '/outside', headers: GZIP })).headers['content-encoding']).toBeUndefined()

    const both = await createApp()
    await both.register(async (child) => {
      await child.register(scaleCompress, { encodings: ['br'] })
      child.get('/', () => BODY)
    })
    const headers = { 'accept-encoding': 'gzip, br' }
    expect((await both.inject({ url: '/', headers })).headers['content-encoding']).toBe('br')
  })

  test.each([true, false])(
    "works beside the service's own @fastify/compress (theirs first: %s)",
    async (theirsFirst) => {
      const app = bareApp()
      if (theirsFirst) await app.register(fastifyCompress)
      await app.register(scaleCompress)
      if (!theirsFirst) await app.register(fastifyCompress)
      app.get('/', () => BODY)
      app.get('/reply', (_request, reply) => reply.type('text/plain').compress(BODY))
      for (const url of ['/', '/reply']) {
        const response = await app.inject({ url, headers: GZIP })
        expect(response.headers['content-encoding']).toBe('gzip')
        expect(decode(response)).toBe(BODY)
      }
    },
  )
})

describe('the compressor that other plugins find', () => {
  async function compressorOf(options?: CompressOptions): Promise<Compressor> {
    const app = await createApp(options)
    await app.ready()
    return findCapability(app, 'compressor') as Compressor
  }

  test('makes variants at the strong level, and only those worth keeping', async () => {
    const compressor = await compressorOf({ encodings: ['br', 'gzip'] })
    const variants = await compressor.encodeVariants(Buffer.from(BODY), 'text/plain')
    expect(Object.keys(variants)).toEqual(['br', 'gzip'])
    expect(gunzipSync(variants['gzip'] as Buffer).toString()).toBe(BODY)

    const { randomBytes } = await import('node:crypto')
    for (const [body, type] of [
      [randomBytes(20_000), 'text/plain'],
      [Buffer.from(BODY), 'image/png'],
      [Buffer.from('small'), 'text/plain'],
      [Buffer.from(BODY), undefined],
    ] as const)
      expect(await compressor.encodeVariants(body, type)).toEqual({})
  })

  test('a variant saves at least 10% or is not kept', async () => {
    const compressor = await compressorOf()
    const { randomBytes } = await import('node:crypto')
    // What is random stays, what repeats goes: 5% and 15% of 100 KB.
    const mixed = (share: number): Buffer =>
      Buffer.concat([randomBytes(100_000 * (1 - share)), Buffer.alloc(100_000 * share, 'a')])
    expect(await compressor.encodeVariants(mixed(0.05), 'text/plain')).toEqual({})
    expect(Object.keys(await compressor.encodeVariants(mixed(0.15), 'text/plain'))).toEqual(['gzip'])
  })

  test('leaves a reply alone that another plugin took over, whoever registered first', async () => {
    const app = await createApp()
    app.addHook('onRequest', async (_request, reply) => findCapability(app, 'compressor')?.takeOver(reply))
    app.get('/', () => BODY)
    const response = await app.inject({ url: '/', headers: GZIP })
    expect(response.headers['content-encoding']).toBeUndefined()
    expect(response.payload).toBe(BODY)
  })
})

describe('wrong options', () => {
  test.each<[string, unknown, string]>([
    ['an unknown option', { treshold: 1 }, "unknown option 'treshold'"],
    ['a threshold that is no size', { threshold: 'big' }, "'threshold'"],
    ['a negative threshold', { threshold: -1 }, "'threshold'"],
    ['no encodings', { encodings: [] }, "'encodings'"],
    ['an unknown encoding', { encodings: ['lzma'] }, "'lzma'"],
    ['a level out of bounds', { levels: { gzip: 10 } }, "'levels.gzip'"],
    ['an unknown level', { levels: { deflate: 1 } }, "'deflate'"],
    ['a flush that is no flag', { flush: 'yes' }, "'flush'"],
    ['a compressible that is no function', { compressible: /text/ }, "'compressible'"],
    ['requests that is no flag', { requests: 1 }, "'requests'"],
  ])('%s is refused at registration', async (_name, options, message) => {
    await expect(bareApp().register(scaleCompress, options as CompressOptions)).rejects.toMatchObject({
      code: 'SCALE_COMPRESS_OPTION',
      message: expect.stringContaining(message),
    })
  })

  test('a wrong route is refused when it is added', async () => {
    const app = await createApp()
    const add = (compress: unknown) => () => app.get('/', { config: { compress: compress as false } }, () => '')
    expect(add({ tresh: 1 })).toThrow(expect.objectContaining({ code: 'SCALE_COMPRESS_OPTION' }))
    expect(add('no')).toThrow(expect.objectContaining({ code: 'SCALE_COMPRESS_OPTION' }))
  })

  test('zstd works where Node.js has it, and is refused by name where it has not', async () => {
    const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (body: Buffer) => Buffer }
    const outcome = await createApp({ encodings: ['zstd', 'gzip'] }).then(
      async (app) => {
        app.get('/', () => BODY)
        const response = await app.inject({ url: '/', headers: { 'accept-encoding': 'zstd' } })
        return [response.headers['content-encoding'], zstdDecompressSync?.(response.rawPayload).toString()]
      },
      (error: { code: string; message: string }) => [error.code, error.message.includes(process.version)],
    )
    expect(outcome).toEqual(zstdDecompressSync ? ['zstd', BODY] : ['SCALE_COMPRESS_UNSUPPORTED_ENCODING', true])
  })

  test("the user's options are not changed", async () => {
    const options = Object.freeze({ encodings: Object.freeze(['gzip'] as const), levels: Object.freeze({ gzip: 2 }) })
    await createApp(options)
    expect(options).toEqual({ encodings: ['gzip'], levels: { gzip: 2 } })
  })
})
