import { type FaultProxy, type Intercept, faultProxy, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import type { ScaleStorageOptions, StoredFile } from '../src/index.ts'
import { type Answer, filePart, form, listen, png, sendForm, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

/** One slot, so that one that is not given back shows. */
async function start(
  overrides: Partial<ScaleStorageOptions> = {},
  persist?: (file: StoredFile) => unknown,
): Promise<{ app: FastifyInstance; url: string; proxy: FaultProxy }> {
  const proxy = await faultProxy({ target: s3.server.endpoint })
  s3.later(() => proxy.stop())
  const app = await s3.app(
    {
      endpoint: proxy.url,
      maxConcurrentUploads: 1,
      maxBytes: '30MB',
      allowedTypes: ['image/*'],
      maxAttempts: 2,
      ...overrides,
    },
    (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request, { persist }))
    },
  )
  return { app, url: await listen(app), proxy }
}

const send = (url: string, bytes: number): Promise<Answer> =>
  sendForm(url, async (write) => {
    const data = png(bytes)
    for (let at = 0; at < data.length; at += 64 * 1_024) await write(data.subarray(at, at + 64 * 1_024))
  }).answer

/** Nothing is left in S3, and the one slot is free again. */
async function expectClean(app: FastifyInstance): Promise<void> {
  await waitFor(async () => (await s3.uploads()).length === 0, { timeout: 20_000, message: 'no multipart upload' })
  await waitFor(async () => (await s3.keys()).length === 0, { timeout: 20_000, message: 'no object' })
  // More than once where S3 is too slow for the short deadlines of these tests.
  const after = await waitFor(
    async () => {
      const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(1_000))) })
      return response.statusCode === 200 && response.json<StoredFile>()
    },
    { timeout: 20_000, message: 'an upload that succeeds' },
  )
  await waitFor(async () => (await s3.keys()).join() === after.key, { timeout: 20_000, message: 'one object' })
}

/** For the faults of S3: two attempts of a second, the back-off between them, and up to 1 s of removal; times five. */
const SHORT = { requestTimeout: 1_000 }
const S3_BOUND = 17_000

/** Marks the connections that carry a matching request, and judges what passes on them. */
function on(
  pattern: RegExp,
  direction: 'request' | 'response',
  verdict: (chunk: Buffer) => ReturnType<Intercept>,
): Intercept {
  const marked = new Set<number>()
  return ({ chunk, connection, direction: actual }) => {
    if (actual === 'request') {
      if (pattern.test(chunk.subarray(0, 2_000).toString('latin1'))) marked.add(connection)
      else if (/^(GET|PUT|POST|DELETE|HEAD) /.test(chunk.subarray(0, 8).toString('latin1'))) marked.delete(connection)
    }
    return actual === direction && marked.has(connection) ? verdict(chunk) : undefined
  }
}

const PART = /^PUT \S*partNumber=/
const CREATE = /^POST \S*[?&]uploads/
const COMPLETE = /^POST \S*[?&]uploadId=/
const PUT = /^PUT (?!\S*partNumber=)/

describe('the client', () => {
  test.each([
    ['in the first part', '1MB'],
    ['in the third part', '12MB'],
  ])('sends too much, %s: 413', async (_where, maxBytes) => {
    const { app, url } = await start({ maxBytes })
    const answer = await send(url, 25 * MB)
    expect(answer).toMatchObject({ status: 413, code: 'SCALE_STORAGE_TOO_LARGE' })
    await expectClean(app)
  })

  test('sends a type that is not allowed: 415', async () => {
    const { app, url } = await start()
    const answer = await sendForm(url, async (write) => write(Buffer.from('<html><script>alert(1)</script>'))).answer
    expect(answer).toMatchObject({ status: 415, code: 'SCALE_STORAGE_TYPE_NOT_ALLOWED' })
    await expectClean(app)
  })

  test('goes away halfway', async () => {
    const { app, url } = await start()
    const { answer, request } = sendForm(url, async (write) => {
      await write(png(12 * MB))
      await waitFor(async () => (await s3.uploads()).length === 1)
      request.destroy()
    })
    await expect(answer).rejects.toThrow('socket hang up')
    await expectClean(app)
  })

  test('stalls: 408, and its time is counted only while it is waited for', async () => {
    const { app, url } = await start({ idleTimeout: 500 })
    const answer = await sendForm(url, async (write) => {
      await write(png(12 * MB))
      await new Promise(() => {})
    }).answer
    expect(answer).toMatchObject({ status: 408, code: 'SCALE_STORAGE_CLIENT_TIMEOUT' })
    expect(answer.ms).toBeGreaterThan(450)
    await expectClean(app)
  })

  test('drips a byte now and then to hold its slot: 408', async () => {
    const { app, url } = await start({ idleTimeout: 500 })
    let stop = false
    const answer = await sendForm(url, async (write, request) => {
      await write(png(5_000))
      request.on('response', () => (stop = true))
      while (!stop) {
        await write(Buffer.from('x'))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }).answer
    expect(answer).toMatchObject({ status: 408 })
    await expectClean(app)
  })

  test.each([
    ['before any part', (): Buffer => Buffer.alloc(0)],
    ['in the middle of a file', (): Buffer => png(100_000)],
  ])('ends the form %s: 400', async (_where, data) => {
    const { app } = await start()
    const { payload, headers } = form(filePart(data()))
    const response = await app.inject({
      method: 'POST',
      url: '/',
      headers,
      payload: payload.subarray(0, payload.length - 50),
    })
    expect(response.statusCode).toBe(400)
    expect(response.json()).toMatchObject({ code: 'SCALE_STORAGE_MALFORMED' })
    await expectClean(app)
  })
})

describe('S3', () => {
  const BUSY = Buffer.from(
    'HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 48\r\n\r\n<Error><Code>SlowDown</Code><A>aaaaa</A></Error>',
  )
  /** One bit is another. */
  const changed = (chunk: Buffer): Buffer => {
    const copy = Buffer.from(chunk)
    if (!/^[A-Z]+ \//.test(chunk.subarray(0, 20).toString('latin1'))) copy[copy.length >> 1]! ^= 1
    return copy
  }
  test.each<[string, number, Intercept]>([
    ['hangs on a small object', 1, on(PUT, 'request', () => 'hang')],
    ['stores a small object and does not say so', 1, on(PUT, 'response', () => 'hang')],
    ['hangs on a part', 12, on(PART, 'request', () => 'hang')],
    ['stores a part and does not say so', 12, on(PART, 'response', () => 'hang')],
    ['hangs on the begin', 12, on(CREATE, 'request', () => 'hang')],
    ['begins and does not say so', 12, on(CREATE, 'response', () => 'hang')],
    ['hangs on the completion', 12, on(COMPLETE, 'request', () => 'hang')],
    ['completes and does not say so', 12, on(COMPLETE, 'response', () => 'hang')],
    ['resets on a part', 12, on(PART, 'request', () => 'cut')],
    ['resets on the completion', 12, on(COMPLETE, 'response', () => 'cut')],
    ['answers 503 to parts', 12, on(PART, 'response', () => BUSY)],
    ['answers 503 to the completion', 12, on(COMPLETE, 'response', () => BUSY)],
    ['gets a small object that was changed on its way', 1, on(PUT, 'request', changed)],
    ['gets a part that was changed on its way', 12, on(PART, 'request', changed)],
  ])('%s: 503 in bounded time', async (_what, megabytes, intercept) => {
    const { app, url, proxy } = await start(SHORT)
    proxy.intercept = intercept
    const answer = await send(url, megabytes * MB)
    expect(answer).toMatchObject({ status: 503, code: 'SCALE_STORAGE_UNAVAILABLE' })
    expect(answer.headers['retry-after']).toBe('2')
    expect(answer.ms).toBeLessThan(S3_BOUND)
    proxy.intercept = undefined
    await expectClean(app)
  })

  test('begins twice, because the first answer was lost: the upload succeeds and nothing is left', async () => {
    const { url, proxy } = await start()
    let lost = 0
    proxy.intercept = on(CREATE, 'response', () => (lost++ === 0 ? 'cut' : undefined))
    const answer = await send(url, 12 * MB)
    expect(answer.status).toBe(200)
    expect(lost).toBeGreaterThan(1)
    await waitFor(async () => (await s3.uploads()).length === 0)
    expect(await s3.keys()).toHaveLength(1)
  })

  test.each([
    ['refuses connections', (proxy: FaultProxy): unknown => (void proxy.refuse(), proxy.cut())],
    ['freezes', (proxy: FaultProxy): unknown => proxy.freeze()],
  ])('%s in the middle: 503, and what it holds is removed when it is back', async (_what, fault) => {
    const { app, url, proxy } = await start(SHORT)
    const { answer } = sendForm(url, async (write) => {
      await write(png(12 * MB))
      await waitFor(async () => (await s3.uploads()).length === 1)
      fault(proxy)
      await write(png(12 * MB))
    })
    const { status, ms } = await answer
    expect(status).toBe(503)
    expect(ms).toBeLessThan(S3_BOUND)
    // An outage that outlasts the removal's first attempt and its second look.
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    await proxy.accept()
    proxy.thaw()
    await expectClean(app)
  })
})

describe('persist', () => {
  test('throws: its error is the answer, and the object is removed', async () => {
    let fail = true
    const seen: string[] = []
    const { app, url } = await start({}, async (file) => {
      seen.push(...(await s3.keys()))
      expect(seen).toEqual([file.key])
      if (fail) throw Object.assign(new Error('taken'), { statusCode: 409, code: 'DUPLICATE' })
    })
    const answer = await send(url, 12 * MB)
    expect(answer).toMatchObject({ status: 409, code: 'DUPLICATE' })
    expect(seen).toHaveLength(1)
    fail = false
    seen.length = 0
    await expectClean(app)
  })
})

// Last: for half a minute after a crash this server waits for its dead self at each new bucket.
describe('S3', () => {
  test('is killed in the middle: 503, and what it holds is removed when it is back', async () => {
    const { app, url } = await start(SHORT)
    const { answer } = sendForm(url, async (write) => {
      await write(png(12 * MB))
      await waitFor(async () => (await s3.uploads()).length === 1)
      await s3.server.kill()
      await write(png(12 * MB))
    })
    const { status, ms } = await answer
    expect(status).toBe(503)
    expect(ms).toBeLessThan(S3_BOUND)
    await s3.server.restart()
    await expectClean(app)
  })
})
