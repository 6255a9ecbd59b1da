import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib'
import fastifyCompress from '@fastify/compress'
import { waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import scaleCompress from '../src/index.ts'
import { GZIP, bareApp, createApp, decode, text } from './helpers.ts'

async function echoApp(): Promise<FastifyInstance> {
  const app = await createApp({ requests: true })
  app.post('/', (request) => request.body)
  return app
}

const json = { 'content-type': 'application/json' }
const body = JSON.stringify({ hello: text(5_000) })

describe('decompression of request bodies', () => {
  test.each([
    ['gzip', gzipSync],
    ['GZIP', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['identity', (value: string) => Buffer.from(value)],
  ])('%s', async (encoding, compress) => {
    const app = await echoApp()
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers: { ...json, ...GZIP, 'content-encoding': encoding },
      payload: compress(body),
    })
    expect(response.statusCode).toBe(200)
    expect(decode(response)).toBe(body)
  })

  test('is off unless asked for', async () => {
    const app = await createApp()
    app.post('/', (request) => request.body)
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers: { ...json, 'content-encoding': 'gzip' },
      payload: gzipSync(body),
    })
    expect(response.statusCode).toBe(400)
  })

  test('an encoding that is not known is 415', async () => {
    const app = await echoApp()
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers: { ...json, 'content-encoding': 'lzma' },
      payload: body,
    })
    expect(response.statusCode).toBe(415)
  })

  test('cut short at every place, or damaged, is 400 and never half a body', async () => {
    const app = await echoApp()
    const whole = gzipSync(body)
    for (let length = 0; length < whole.length; length++) {
      const response = await app.inject({
        method: 'POST',
        url: '/',
        headers: { ...json, 'content-encoding': 'gzip' },
        payload: whole.subarray(0, length),
      })
      expect({ length, status: response.statusCode }).toEqual({ length, status: 400 })
    }
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] as number) ^ 0xff
      const response = await app.inject({
        method: 'POST',
        url: '/',
        headers: { ...json, 'content-encoding': 'gzip' },
        payload: damaged,
      })
      // Some bytes of the header (time, system) carry nothing.
      expect([400, body]).toContain(response.statusCode === 200 ? response.payload : response.statusCode)
    }
  })

  test.each([
    ['gzip', (value: Buffer) => gzipSync(value, { level: 9 })],
    ['deflate', (value: Buffer) => deflateSync(value, { level: 9 })],
    ['br', (value: Buffer) => brotliCompressSync(value, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } })],
  ])('a %s bomb is 413', async (encoding, compress) => {
    const app = await echoApp()
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers: { ...json, 'content-encoding': encoding },
      payload: compress(Buffer.alloc(20 * 1_048_576, ' ')),
    })
    expect(response.statusCode).toBe(413)
  })

  test('a bomb is not unpacked further once it was refused', async () => {
    const app = await echoApp()
    // 500 MB of blanks in many gzip members: 0.5 MB on the wire, under the body limit.
    const bomb = Buffer.concat(Array.from({ length: 500 }, () => member))
    expect(bomb.length).toBeLessThan(1_048_576)
    let unpacked = 0
    app.addHook('onRoute', (route) => {
      route.preParsing = [
        ...[route.preParsing ?? []].flat(),
        async (_request: unknown, _reply: unknown, payload: never) => {
          const stream = payload as unknown as NodeJS.ReadableStream
          const push = (stream as unknown as { push: (chunk: Buffer | null) => boolean }).push
          ;(stream as unknown as { push: typeof push }).push = function counting(chunk) {
            unpacked += chunk?.length ?? 0
            return push.call(this, chunk)
          }
          return payload
        },
      ] as never
    })
    app.post('/bomb', (request) => request.body)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    socket.write(
      `POST /bomb HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`,
    )
    socket.write(bomb)
    let answer = ''
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('error', () => undefined)
    await waitFor(() => answer.includes('413'))
    let last = -1
    await waitFor(
      () => {
        const still = unpacked === last
        last = unpacked
        return still
      },
      { interval: 100 },
    )
    expect(unpacked).toBeGreaterThan(1_048_576)
    expect(unpacked).toBeLessThan(100 * 1_048_576)
    socket.destroy()
  })

  test("a route's own bodyLimit counts what comes out", async () => {
    const app = await createApp({ requests: true })
    app.post('/', { bodyLimit: 4_000 }, (request) => request.body)
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers: { ...json, 'content-encoding': 'gzip' },
      payload: gzipSync(body),
    })
    expect(response.statusCode).toBe(413)
  })

  test('beside a @fastify/compress that does it already it is refused, by name', async () => {
    const app = bareApp()
    await app.register(fastifyCompress)
    await expect(app.register(scaleCompress, { requests: true })).rejects.toMatchObject({
      code: 'SCALE_COMPRESS_REQUESTS_TAKEN',
    })
  })
})

const member = gzipSync(Buffer.alloc(1_048_576, ' '), { level: 9 })
