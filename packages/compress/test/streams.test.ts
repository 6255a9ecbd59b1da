import { once } from 'node:events'
import { type IncomingMessage, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable, Transform } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip, createGzip } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
import type { Encoder } from '../src/encodings.ts'
import { encodeStream } from '../src/flush.ts'
import { GZIP, createApp, decode, text } from './helpers.ts'

/** Asks over a real socket; the answer is decoded as it comes. */
async function open(app: FastifyInstance, url: string, encoding = 'gzip') {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const request = get({ port, host: '127.0.0.1', path: url, headers: { 'accept-encoding': encoding } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const decoder = { gzip: createGunzip, br: createBrotliDecompress }[response.headers['content-encoding'] as 'gzip']()
  const decoded = response.pipe(decoder)
  decoded.setEncoding('utf8')
  let received = ''
  decoded.on('data', (chunk: string) => (received += chunk))
  return { request, response, received: () => received, ended: once(decoded, 'end') }
}

describe('streams are not held back', () => {
  test.each([
    ['text/event-stream', 'gzip'],
    ['application/x-ndjson', 'gzip'],
    ['text/event-stream', 'br'],
  ])('each event of %s in %s arrives while the stream stays open', async (type, encoding) => {
    const app = await createApp({ encodings: ['gzip', 'br'] })
    const source = new PassThrough()
    app.get('/', (_request, reply) => reply.type(type).send(source))
    source.write('a')
    const client = await open(app, '/', encoding)
    expect(client.response.headers['content-encoding']).toBe(encoding)
    await waitFor(() => client.received() === 'a')
    // The next is written only when the one before was read: a byte held back would stop the test here.
    let expected = 'a'
    for (let i = 0; i < 20; i++) {
      const event = `data: {"n":${i}}\n\n`
      source.write(event)
      expected += event
      await waitFor(() => client.received() === expected)
    }
    source.end('end')
    await client.ended
    expect(client.received()).toBe(`${expected}end`)
  })

  test('rows of an async generator arrive as they are made', async () => {
    const app = await createApp()
    const gate = new PassThrough({ objectMode: true })
    app.get('/', (_request, reply) => reply.type('application/x-ndjson').send(Readable.from(rows())))
    async function* rows(): AsyncGenerator<string> {
      for await (const row of gate) yield `${JSON.stringify(row)}\n`
    }
    gate.write({ row: 1 })
    const client = await open(app, '/')
    await waitFor(() => client.received() === '{"row":1}\n')
    gate.write({ row: 2 })
    await waitFor(() => client.received() === '{"row":1}\n{"row":2}\n')
    gate.end()
    await client.ended
    expect(client.response.complete).toBe(true)
  })

  test('what comes while a flush is under way is flushed after it', async () => {
    const encoder = createGzip({ level: 9 })
    const source = new PassThrough()
    const decoded = encodeStream(source, encoder as Encoder, constants.Z_SYNC_FLUSH).pipe(createGunzip())
    let received = 0
    decoded.on('data', (chunk: Buffer) => (received += chunk.length))
    const big = text(2_000_000)
    const flush = encoder.flush.bind(encoder)
    let flushes = 0
    encoder.flush = ((...args: Parameters<typeof flush>) => {
      flush(...args)
      // The flush waits in the thread pool behind what was written before.
      if (flushes++ === 0) source.write('tail')
    }) as typeof flush
    source.write(big)
    await waitFor(() => received === big.length + 4)
    expect(flushes).toBe(2)
    source.destroy()
  })

  test('with flush: false the encoder keeps what it has until it is full or the stream ends', async () => {
    const app = await createApp({ flush: false })
    const source = new PassThrough()
    app.get('/', (_request, reply) => reply.type('text/event-stream').send(source))
    source.write('data: 1\n\n')
    const client = await open(app, '/')
    // A flushing stream would have given the event out with the header that has just come.
    await new Promise((resolve) => setImmediate(resolve))
    expect(client.received()).toBe('')
    source.end()
    await client.ended
    expect(client.received()).toBe('data: 1\n\n')
  })

  test('a source that is busy is not cut into blocks', async () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => `{"id":${i},"name":"row ${i}"}\n`)
    const sizes: number[] = []
    for (const flush of [true, false]) {
      const app = await createApp({ flush })
      app.get('/', (_request, reply) => reply.type('application/x-ndjson').send(Readable.from(rows)))
      const response = await app.inject({ url: '/', headers: GZIP })
      expect(decode(response)).toBe(rows.join(''))
      sizes.push(response.rawPayload.length)
    }
    expect(sizes[0]).toBeLessThan((sizes[1] as number) * 1.1)
  })
})

describe('trailers', () => {
  test.each<[string, () => unknown]>([
    ['a text', () => text(5_000)],
    ['a stream', () => Readable.from([text(5_000)])],
  ])('of %s arrive after the encoded body', async (_name, make) => {
    const app = await createApp()
    app.get('/', (_request, reply) => {
      reply.type('text/plain')
      reply.trailer('server-timing', async () => 'db;dur=1')
      return reply.send(make())
    })
    const client = await open(app, '/')
    await client.ended
    expect(client.received()).toBe(text(5_000))
    await waitFor(() => client.response.complete)
    expect(client.response.trailers).toEqual({ 'server-timing': 'db;dur=1' })
  })
})

describe('streams that go wrong', () => {
  test('a stream that fails before its first byte is answered with the error, not encoded', async () => {
    const app = await createApp()
    app.get('/', (_request, reply) => {
      const source = new Readable({ read() {} })
      setImmediate(() => source.destroy(new Error('no such row')))
      return reply.type('text/plain').send(source)
    })
    const response = await app.inject({ url: '/', headers: GZIP })
    expect(response.statusCode).toBe(500)
    expect(response.headers['content-encoding']).toBeUndefined()
    expect(response.json()).toMatchObject({ message: 'no such row' })
  })

  test.each<[string, () => unknown, string]>([
    ['an object that was given a type of text', () => ({ a: 1 }), 'FST_ERR_REP_INVALID_PAYLOAD_TYPE'],
    ['a Blob', () => new Blob(['x']), 'FST_ERR_REP_INVALID_PAYLOAD_TYPE'],
    ['a Response that was read', readResponse, 'FST_ERR_REP_RESPONSE_BODY_CONSUMED'],
    ['a web stream that somebody reads', lockedStream, 'FST_ERR_REP_READABLE_STREAM_LOCKED'],
  ])('%s is refused by Fastify, in an answer that can be read', async (_name, make, code) => {
    const app = await createApp()
    app.get('/', async (_request, reply) => reply.type('text/plain').send(await make()))
    const response = await app.inject({ url: '/', headers: GZIP })
    expect(response.headers['content-encoding']).toBeUndefined()
    expect(response.json()).toMatchObject({ statusCode: 500, code })
  })

  test('a client that leaves ends the source, and the encoder with it', async () => {
    const app = await createApp()
    let closed = false
    const source = new Readable({
      read() {
        this.push(text(1_000))
      },
    })
    source.once('close', () => (closed = true))
    app.get('/', (_request, reply) => reply.type('text/plain').send(source))
    const client = await open(app, '/')
    client.response.once('error', () => undefined)
    client.request.destroy()
    expect(await waitFor(() => closed)).toBe(true)
  })

  test('a slow reader holds the source back: what it has not read is not piled up', async () => {
    const app = await createApp()
    let made = 0
    // Bytes that don't compress, so that sockets fill.
    const { randomBytes } = await import('node:crypto')
    const source = new Readable({
      read() {
        made += 65_536
        this.push(made > 32 * 1_048_576 ? null : randomBytes(49_152).toString('base64'))
      },
    })
    app.get('/', (_request, reply) => reply.type('text/plain').send(source))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const request = get({ port, host: '127.0.0.1', path: '/', headers: GZIP })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    // Nothing is read: wait until the source has stood still over many turns of the loop.
    let last = -1
    let still = 0
    await waitFor(() => {
      still = made === last ? still + 1 : 0
      last = made
      return still >= 10
    })
    expect(made).toBeLessThan(20 * 1_048_576)
    let total = 0
    const counter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        total += chunk.length
        done()
      },
    })
    response.pipe(createGunzip()).pipe(counter).resume()
    await once(counter, 'end')
    expect(total).toBe(32 * 1_048_576)
  })
})

async function readResponse(): Promise<Response> {
  const response = new Response('x'.repeat(10_000))
  await response.text()
  return response
}

function lockedStream(): ReadableStream {
  const stream = new Blob(['x'.repeat(10_000)]).stream()
  stream.getReader()
  return stream
}
