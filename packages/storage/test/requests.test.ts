import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import multipart from '@fastify/multipart'
import { faultProxy, waitFor } from '@fastify-scale/dev-services'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import scaleStorage, { type StoredFile, acceptRawBodies, uploadFailed } from '../src/index.ts'
import { type Answer, PDF, filePart, form, listen, png, sendForm, sha256, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

/** More than any client can send while it is refused: a gigabyte was sent within the second once. */
const TERABYTE = 1_024 ** 2 * MB

describe('a client that keeps sending after it was refused', () => {
  async function start(): Promise<{ app: FastifyInstance; url: string }> {
    const app = await s3.app({ maxBytes: '100KB' }, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    return { app, url: await listen(app) }
  }

  test('sees the answer at once, and is closed on after a second of it', async () => {
    const { url } = await start()
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    const head = form(filePart(Buffer.alloc(0)))
    socket.write(
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: ${head.headers['content-type']}\r\nContent-Length: ${TERABYTE}\r\n\r\n`,
    )
    socket.write(head.payload.subarray(0, head.payload.indexOf('\r\n\r\n') + 4))
    let received = ''
    let answeredAt = 0
    const start_ = performance.now()
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString()
      answeredAt ||= performance.now() - start_
    })
    socket.on('error', () => {})
    const chunk = png(MB)
    const pump = (): void => {
      while (!socket.destroyed && socket.writable && socket.write(chunk));
    }
    socket.on('drain', pump)
    pump()
    await new Promise<void>((resolve) => socket.on('close', () => resolve()))
    const closedAt = performance.now() - start_
    expect(received).toContain('HTTP/1.1 413')
    expect(received).toContain('SCALE_STORAGE_TOO_LARGE')
    expect(closedAt - answeredAt).toBeGreaterThan(700)
    expect(closedAt - answeredAt).toBeLessThan(10_000)
  })

  test('slowly, is closed on after a second of it too', async () => {
    const { url } = await start()
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    const head = form(filePart(Buffer.alloc(0)))
    socket.write(
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: ${head.headers['content-type']}\r\nContent-Length: ${TERABYTE}\r\n\r\n`,
    )
    socket.write(head.payload.subarray(0, head.payload.indexOf('\r\n\r\n') + 4))
    const trickle = setInterval(() => socket.writable && socket.write(Buffer.alloc(1_000)), 20)
    s3.later(() => clearInterval(trickle))
    await once(socket, 'data')
    const answeredAt = performance.now()
    await new Promise<void>((resolve) => socket.on('close', () => resolve()))
    // Ten times the second is for answers that do not come.
    expect(performance.now() - answeredAt).toBeLessThan(8_000)
  })

  test.each([5, 30])('of %i MB in all sees 413 through fetch', async (megabytes) => {
    const { app, url } = await start()
    const body = new FormData()
    body.append('file', new Blob([png(megabytes * MB)]), 'x.png')
    const response = await fetch(url, { method: 'POST', body })
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ code: 'SCALE_STORAGE_TOO_LARGE' })
    await app.close()
  })

  test('and keeps its connection where little is left to send', async () => {
    const { url } = await start()
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    s3.later(() => socket.destroy())
    const { payload, headers } = form(filePart(png(300_000)))
    let received = ''
    socket.on('data', (chunk: Buffer) => (received += chunk.toString()))
    const send = (): void => {
      socket.write(
        `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: ${headers['content-type']}\r\nContent-Length: ${payload.length}\r\n\r\n`,
      )
      socket.write(payload)
    }
    send()
    await waitFor(() => received.includes('}'))
    send()
    await waitFor(() => received.split('HTTP/1.1 413').length === 3)
    expect(socket.destroyed).toBe(false)
  })
})

describe('a registration of @fastify/multipart that is there already', () => {
  async function start(
    options: object,
    upload: (app: FastifyInstance) => void = (app) =>
      void app.post('/', async (request) => app.storage.upload(request)),
  ): Promise<FastifyInstance> {
    const app = Fastify()
    s3.later(() => app.close())
    await app.register(multipart, options)
    await app.register(scaleStorage, s3.options())
    upload(app)
    return app
  }

  test.each([
    ['cuts files off silently', { limits: { fileSize: 1_000 }, throwFileSizeLimit: false }],
    ['throws on its small limit', { limits: { fileSize: 1_000 } }],
    ['allows two parts and tiny fields', { limits: { parts: 2, fields: 1, files: 1, fieldSize: 3, fieldNameSize: 2 } }],
  ])('%s: our limits hold, and nothing is cut off', async (_what, options) => {
    const app = await start(options, (routes) => {
      routes.post('/', async (request) => {
        let caption: string | null = ''
        const file = await routes.storage.upload(request, {
          persist: (_file, fields) => void (caption = fields.get('caption')),
        })
        return { ...file, caption }
      })
    })
    const data = png(6 * MB)
    const response = await app.inject({
      method: 'POST',
      url: '/',
      ...form({ name: 'caption', value: 'a long caption' }, { name: 'b', value: '2' }, filePart(data)),
    })
    expect(response.json()).toMatchObject({ size: data.length, sha256: sha256(data), caption: 'a long caption' })
  })

  test('a part that the caller took, and that its limit cut off, is 413 and not stored', async () => {
    const app = await start({ limits: { fileSize: 1_000 }, throwFileSizeLimit: false }, (routes) => {
      routes.post('/', async (request) => {
        const part = await request.file()
        return routes.storage.upload(request, { part })
      })
    })
    const cut = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(1_001))) })
    expect(cut.statusCode).toBe(413)
    expect(await s3.keys()).toEqual([])
    const whole = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(1_000))) })
    expect(whole.json()).toMatchObject({ size: 1_000 })
  })

  test('parts of a form that the caller goes through himself', async () => {
    const app = await start({}, (routes) => {
      routes.post('/', async (request) => {
        const files: StoredFile[] = []
        for await (const part of request.parts({ limits: { fileSize: 10 * MB } }))
          if (part.type === 'file') files.push(await routes.storage.upload(request, { part }))
        return files
      })
    })
    const response = await app.inject({
      method: 'POST',
      url: '/',
      ...form(filePart(png(100)), { name: 'a', value: 'b' }, filePart(PDF, 'doc')),
    })
    expect(response.json<StoredFile[]>().map((file) => file.size)).toEqual([100, PDF.length])
  })

  test('attachFieldsToBody: what it read is stored, and what it cut off is 413', async () => {
    const app = await start({ attachFieldsToBody: true, limits: { fileSize: 2_000 }, throwFileSizeLimit: false })
    const data = png(2_000)
    const stored = await app.inject({ method: 'POST', url: '/', ...form(filePart(data), { name: 'a', value: 'b' }) })
    expect(stored.json()).toMatchObject({ size: 2_000, sha256: sha256(data) })
    const cut = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(2_001))) })
    expect(cut.statusCode).toBe(413)
    expect(await s3.keys()).toHaveLength(1)
  })

  test("attachFieldsToBody: 'keyValues' leaves no file: a coded error says what to do", async () => {
    const app = await start({ attachFieldsToBody: 'keyValues' })
    const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    expect(response.json()).toMatchObject({ statusCode: 500, code: 'SCALE_STORAGE_BODY_CONSUMED' })
  })

  test('in a child context, with multipart: false', async () => {
    const app = Fastify()
    s3.later(() => app.close())
    await app.register(scaleStorage, s3.options({ multipart: false }))
    await app.register(async (child) => {
      await child.register(multipart, { limits: { fileSize: 10 } })
      child.post('/', async (request) => app.storage.upload(request))
    })
    const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(5_000))) })
    expect(response.json()).toMatchObject({ size: 5_000 })
  })
})

describe('the hooks of @fastify/multipart', () => {
  test('remove the files of a form that a route saved to disk', async () => {
    let saved: string[] = []
    const app = await s3.app({}, (routes) => {
      routes.post('/', async (request) => {
        saved = (await request.saveRequestFiles()).files.map(({ filepath }) => filepath)
        return saved.map((file) => existsSync(file))
      })
    })
    // Not injected: there every answer looks like one that the client did not wait for.
    const body = new FormData()
    body.append('file', new Blob([png(5_000)]), 'x.png')
    const response = await fetch(await listen(app), { method: 'POST', body })
    expect(await response.json()).toEqual([true])
    await waitFor(() => !existsSync(saved[0] as string))
  })

  test('and where the client goes away before its answer', async () => {
    let saved: string[] = []
    const app = await s3.app({}, (routes) => {
      routes.post('/', async (request, reply) => {
        saved = (await request.saveRequestFiles()).files.map(({ filepath }) => filepath)
        await once(reply.raw, 'close')
      })
    })
    const url = new URL(await listen(app))
    const { payload, headers } = form(filePart(png(5_000)))
    const socket = connect(Number(url.port), url.hostname)
    socket.write(
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: ${headers['content-type']}\r\nContent-Length: ${payload.length}\r\n\r\n`,
    )
    socket.write(payload)
    await waitFor(() => saved.length === 1)
    expect(existsSync(saved[0] as string)).toBe(true)
    socket.destroy()
    await waitFor(() => !existsSync(saved[0] as string))
  })

  test('cost a request that is no form nothing', async () => {
    const listeners = (app: FastifyInstance): void =>
      void app.get('/', async (_request, { raw }) => [raw.listenerCount('close'), raw.listenerCount('finish')])
    const bare = Fastify()
    listeners(bare)
    const app = await s3.app({}, listeners)
    const counts = async (one: FastifyInstance): Promise<unknown> => (await one.inject('/')).json()
    expect(await counts(app)).toEqual(await counts(bare))
  })
})

describe('what is not an upload', () => {
  test.each<[string, object, number, string]>([
    ['JSON', { payload: { a: 1 } }, 415, 'SCALE_STORAGE_NOT_AN_UPLOAD'],
    ['no body', {}, 415, 'SCALE_STORAGE_NOT_AN_UPLOAD'],
    ['a form without file', form({ name: 'a', value: 'b' }), 400, 'SCALE_STORAGE_NO_FILE'],
    ['an empty form', { ...form(), payload: '' }, 400, 'SCALE_STORAGE_NO_FILE'],
    [
      'a file field that was left empty',
      form({ name: 'file', filename: '', type: 'application/octet-stream', data: Buffer.alloc(0) }),
      400,
      'SCALE_STORAGE_NO_FILE',
    ],
    [
      'no boundary',
      { headers: { 'content-type': 'multipart/form-data' }, payload: 'x' },
      400,
      'SCALE_STORAGE_MALFORMED',
    ],
    [
      'garbage',
      { headers: { 'content-type': 'multipart/form-data; boundary=x' }, payload: 'garbage\r\n--x' },
      400,
      'SCALE_STORAGE_MALFORMED',
    ],
    ['a prototype as field', form({ name: '__proto__', value: '1' }), 400, 'SCALE_STORAGE_MALFORMED'],
    [
      'a field that is too long',
      form({ name: 'a', value: 'x'.repeat(65_537) }, filePart(png(100))),
      413,
      'SCALE_STORAGE_TOO_MANY_PARTS',
    ],
    [
      'too many fields',
      form(...Array.from({ length: 201 }, (_, n) => ({ name: `f${n}`, value: '' })), filePart(png(100))),
      413,
      'SCALE_STORAGE_TOO_MANY_PARTS',
    ],
  ])('%s', async (_what, request, status, code) => {
    const app = await s3.app({ maxConcurrentUploads: 1 }, (routes) => {
      routes.post('/', async (incoming) => routes.storage.upload(incoming))
    })
    for (let run = 0; run < 2; run++) {
      const response = await app.inject({ method: 'POST', url: '/', ...request })
      expect({ status: response.statusCode, code: response.json<{ code: string }>().code }).toEqual({ status, code })
    }
    expect(await s3.keys()).toEqual([])
  })
})

describe('a raw body', () => {
  const start = async (
    overrides: Parameters<typeof s3.options>[0] = {},
  ): Promise<{ app: FastifyInstance; url: string }> => {
    const app = await s3.app(overrides, async (routes) => {
      await routes.register(async (scope) => {
        acceptRawBodies(scope)
        scope.put('/', async (request) => scope.storage.upload(request))
      })
      routes.post('/json', async (request) => request.body)
    })
    return { app, url: await listen(app) }
  }

  test.each([0, 1, 5_000, 5 * MB, 12 * MB])('of %i bytes is stored as one object', async (size) => {
    const { url } = await start()
    const data = png(size)
    const response = await fetch(url, { method: 'PUT', body: data, headers: { 'content-type': 'image/png' } })
    const file = (await response.json()) as StoredFile
    expect(file).toMatchObject({ size, sha256: sha256(data) })
    expect(file.etag).not.toContain('-')
    expect(sha256(await s3.body(file.key))).toBe(file.sha256)
  })

  test('of unknown length goes up in parts', async () => {
    const { url } = await start()
    const data = png(6 * MB)
    const response = await fetch(url, {
      method: 'PUT',
      body: new Blob([data]).stream(),
      duplex: 'half',
      headers: { 'content-type': 'application/octet-stream' },
    } as RequestInit)
    const file = (await response.json()) as StoredFile
    expect(file).toMatchObject({ size: data.length, sha256: sha256(data), contentType: 'image/png' })
    expect(file.etag).toContain('-2')
  })

  test('leaves the other routes their parsers', async () => {
    const { app } = await start()
    const response = await app.inject({ method: 'POST', url: '/json', payload: { a: 1 } })
    expect(response.json()).toEqual({ a: 1 })
  })

  test('that is too large is refused by its Content-Length, before a byte is stored', async () => {
    const { url } = await start({ maxBytes: 1_000 })
    const response = await fetch(url, { method: 'PUT', body: png(1_001) })
    expect(response.status).toBe(413)
    expect(await s3.keys()).toEqual([])
  })

  test('from a client slower than S3 may be is stored: only its own silence counts against it', async () => {
    const { url } = await start({ requestTimeout: 1_000 })
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    const data = png(30_000)
    socket.write(`PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${data.length}\r\n\r\n`)
    for (let at = 0; at < data.length; at += 10_000) {
      socket.write(data.subarray(at, at + 10_000))
      await new Promise((resolve) => setTimeout(resolve, 1_200))
    }
    let received = ''
    for await (const chunk of socket) received += String(chunk)
    expect(received).toContain(sha256(data))
  })

  test.each<[string, 'request' | 'response']>([
    ['takes nothing', 'request'],
    ['does not answer', 'response'],
  ])('while S3 %s: 503 in bounded time, and nothing is left', async (_what, direction) => {
    const proxy = await faultProxy({ target: s3.server.endpoint })
    s3.later(() => proxy.stop())
    const { app, url } = await start({ endpoint: proxy.url, requestTimeout: 1_000, maxConcurrentUploads: 1 })
    const puts = new Set<number>()
    proxy.intercept = ({ chunk, connection, direction: actual }) => {
      if (chunk.subarray(0, 4).toString() === 'PUT ') puts.add(connection)
      return actual === direction && puts.has(connection) ? 'hang' : undefined
    }
    const begin = performance.now()
    const response = await fetch(url, { method: 'PUT', body: png(12 * MB) })
    expect(response.status).toBe(503)
    expect(performance.now() - begin).toBeLessThan(12_000)
    proxy.intercept = undefined
    await waitFor(async () => (await s3.keys()).length === 0, { timeout: 20_000 })
    await waitFor(async () => (await app.inject({ method: 'PUT', url: '/', payload: png(100) })).statusCode === 200)
  })

  test('whose client goes away leaves nothing', async () => {
    const { app, url } = await start({ maxConcurrentUploads: 1 })
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.write(`PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: ${10 * MB}\r\n\r\n`)
    socket.on('error', () => {})
    socket.write(png(6 * MB), () => socket.destroy())
    await waitFor(async () => (await app.inject({ method: 'PUT', url: '/', payload: png(100) })).statusCode === 200)
    await waitFor(async () => (await s3.keys()).length === 1)
    expect(await s3.uploads()).toEqual([])
  })
})

describe('slots', () => {
  test.each([
    ['at once', 0, [503, 200]],
    ['after slotTimeout', 300, [200]],
  ])('all taken: 503 with Retry-After %s', async (_when, slotTimeout, afterwards) => {
    const app = await s3.app({ maxConcurrentUploads: 2, slotTimeout }, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    const url = await listen(app)
    let finish: (() => void) | undefined
    const held = new Promise<void>((resolve) => (finish = resolve))
    const holders = [1, 2].map(() =>
      sendForm(url, async (write) => {
        await write(png(10_000))
        await held
      }),
    )
    const send = (): Promise<Answer> => sendForm(url, (write) => write(png(10))).answer
    let refused = await send()
    while (refused.status === 200) refused = await send()
    expect(refused).toMatchObject({ status: 503, code: 'SCALE_STORAGE_BUSY' })
    expect(refused.headers['retry-after']).toBe('1')
    expect(refused.ms).toBeGreaterThan(slotTimeout * 0.9)
    const waiting = send()
    finish?.()
    for (const { answer } of holders) expect((await answer).status).toBe(200)
    expect(afterwards).toContain((await waiting).status)
  })

  test('are not waited for by a client that has gone', async () => {
    const app = await s3.app({ maxConcurrentUploads: 1, slotTimeout: '60s' }, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    const url = await listen(app)
    const codes: string[] = []
    s3.later(uploadFailed.subscribe(({ code }) => void codes.push(code)))
    const arrived: unknown[] = []
    app.server.on('request', (request) => arrived.push(request))
    const holder = sendForm(url, async (write) => {
      await write(png(10_000))
      await new Promise(() => {})
    })
    await waitFor(() => arrived.length === 1)
    const waiting = sendForm(url, async (write) => {
      await write(png(10))
      await new Promise(() => {})
    })
    await waitFor(() => arrived.length === 2)
    waiting.request.destroy()
    await waitFor(() => codes.length === 1)
    expect(codes).toEqual(['SCALE_STORAGE_CLIENT_ABORTED'])
    holder.request.destroy()
  })

  test('are not held by persist', async () => {
    let open: (() => void) | undefined
    let persisting = false
    const held = new Promise<void>((resolve) => (open = resolve))
    const persist = (): Promise<void> => {
      persisting = true
      return held
    }
    const app = await s3.app({ maxConcurrentUploads: 1 }, (routes) => {
      routes.post('/slow', async (request) => routes.storage.upload(request, { persist }))
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    const slow = app.inject({ method: 'POST', url: '/slow', ...form(filePart(png(100))) })
    // The object is there before its upload has heard so.
    await waitFor(() => persisting, { timeout: 30_000 })
    expect((await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })).statusCode).toBe(200)
    open?.()
    expect((await slow).statusCode).toBe(200)
  })
})
