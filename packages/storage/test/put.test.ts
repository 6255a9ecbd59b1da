import { Readable } from 'node:stream'
import { type Intercept, faultProxy, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test, vi } from 'vitest'
import { type ScaleStorageOptions, type StoredFile, uploadStored } from '../src/index.ts'
import { CDN, png, sha256, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

/** A stream that gives so many bytes of `data` and then does as told. */
function streamOf(data: Buffer, end: 'end' | 'stall' | 'close' | Error = 'end'): Readable {
  let at = 0
  return new Readable({
    read() {
      const chunk = data.subarray(at, (at += 64 * 1_024))
      if (chunk.length > 0) this.push(chunk)
      else if (end === 'end') this.push(null)
      else if (end === 'close') this.destroy()
      else if (end instanceof Error) this.destroy(end)
    },
  })
}

/** Nothing is left in S3, and the one slot is free. */
async function expectClean(app: FastifyInstance): Promise<void> {
  await waitFor(async () => (await s3.uploads()).length === 0, { timeout: 20_000, message: 'no multipart upload' })
  await waitFor(async () => (await s3.keys()).length === 0, { timeout: 20_000, message: 'no object' })
  const { key } = await app.storage.put(png(1_000), { slotTimeout: '20s' })
  expect(await s3.keys()).toEqual([key])
}

const start = (overrides: Partial<ScaleStorageOptions> = {}): Promise<FastifyInstance> =>
  s3.app({ maxConcurrentUploads: 1, ...overrides })

describe('what the service makes itself', () => {
  test('is stored with its type told from the content, and persisted', async () => {
    const app = await start()
    const told: string[] = []
    s3.later(uploadStored.subscribe(({ key }) => told.push(key)))
    const data = png(20_000)
    const persisted: StoredFile[] = []
    const file = await app.storage.put(data, {
      prefix: 'thumbnails',
      contentType: 'image/png',
      persist: async (stored) => {
        // It is there when its URL is saved.
        expect(await s3.body(stored.key)).toEqual(data)
        persisted.push(stored)
      },
    })
    expect(file).toMatchObject({ size: 20_000, contentType: 'image/png', sha256: sha256(data), bucket: s3.bucket })
    expect(file.key).toMatch(/^thumbnails\/[\w-]{36}\.png$/)
    expect(file.url).toBe(`${CDN}/${file.key}`)
    expect(persisted).toEqual([file])
    expect(told).toEqual([file.key])
    expect(await s3.head(file.key)).toMatchObject({
      ContentType: 'image/png',
      CacheControl: 'public, max-age=31536000, immutable',
    })
    await app.storage.delete(file.url)
    expect(await s3.keys()).toEqual([])
  })

  test('may be bytes of any view, empty, text of a named type, private, and pending', async () => {
    const app = await start()
    const { put } = app.storage
    // A window into a larger buffer is just that window.
    const window = new Uint8Array(png(1_000).buffer, 0, 1_000).subarray(0, 500)
    expect(await put(window)).toMatchObject({ size: 500, sha256: sha256(window) })
    expect(await put(Buffer.alloc(0))).toMatchObject({ size: 0, sha256: sha256(Buffer.alloc(0)) })
    const csv = await put(Buffer.from('id;name\n1;anna\n'), { contentType: 'text/csv', visibility: 'private' })
    expect(csv).toMatchObject({ contentType: 'text/csv' })
    expect(csv.key).toMatch(/^private\/uploads\/[\w-]{36}\.csv$/)
    const page = await put(Buffer.from('<!doctype html><p>hello'))
    expect(await s3.head(page.key)).toMatchObject({ ContentType: 'text/html', ContentDisposition: 'attachment' })
    const pending = await put(png(100), { pending: true })
    expect(pending.key).toMatch(/^pending\//)
    expect((await app.storage.completeDirectUpload(pending.key)).key).toMatch(/^uploads\//)
  })

  test.each([0, 1, 5 * MB - 1, 5 * MB, 5 * MB + 1, 12 * MB + 3])(
    'is byte for byte what a stream gave: %i bytes',
    async (size) => {
      const app = await start()
      const data = png(size)
      async function* parts(): AsyncGenerator<Uint8Array> {
        // Chunks that are no Buffers, as those of the web are.
        for (let at = 0; at < data.length; at += 100_000) yield new Uint8Array(data.subarray(at, at + 100_000))
      }
      const loaded: number[] = []
      const bodies = [data, streamOf(data), parts(), Readable.toWeb(streamOf(data))]
      for (const body of bodies) {
        const file = await app.storage.put(body as Readable, { onProgress: (progress) => loaded.push(progress.loaded) })
        expect(file).toMatchObject({ size, sha256: sha256(data) })
        expect(sha256(await s3.body(file.key))).toBe(sha256(data))
      }
      expect(loaded.at(-1) ?? 0).toBe(size)
      expect(await s3.uploads()).toEqual([])
    },
  )
})

describe('is refused, and nothing is left', () => {
  test('of a type that was not meant, before S3 hears of it', async () => {
    const app = await start({ allowedTypes: ['image/*'] })
    const stream = streamOf(png(9 * MB))
    await expect(app.storage.put(stream, { contentType: 'image/webp' })).rejects.toMatchObject({
      code: 'SCALE_STORAGE_TYPE_NOT_ALLOWED',
      statusCode: 415,
    })
    expect(stream.destroyed).toBe(true)
    // The defaults hold as for uploads.
    await expect(app.storage.put(Buffer.from('text'))).rejects.toMatchObject({ code: 'SCALE_STORAGE_TYPE_NOT_ALLOWED' })
    await expectClean(app)
  })

  test('larger than maxBytes: bytes at once, a stream when it passes it', async () => {
    const app = await start({ maxBytes: '8MB' })
    const stream = streamOf(png(30 * MB))
    for (const body of [png(8 * MB + 1), stream])
      await expect(app.storage.put(body)).rejects.toMatchObject({ code: 'SCALE_STORAGE_TOO_LARGE', statusCode: 413 })
    expect(stream.destroyed).toBe(true)
    await expect(app.storage.put(png(2_000), { maxBytes: 1_000 })).rejects.toMatchObject({ statusCode: 413 })
    await expectClean(app)
  })

  test('where persist throws, with its error', async () => {
    const app = await start()
    const failure = new Error('the row is gone')
    for (const size of [1_000, 6 * MB])
      await expect(
        app.storage.put(png(size), {
          persist: () => {
            throw failure
          },
        }),
      ).rejects.toBe(failure)
    await expectClean(app)
  })

  test('where the stream fails, closes early, stalls, or was read before', async () => {
    const app = await start()
    const failure = new Error('disk')
    for (const size of [1_000, 12 * MB]) {
      await expect(app.storage.put(streamOf(png(size), failure))).rejects.toBe(failure)
      await expect(app.storage.put(streamOf(png(size), 'close'))).rejects.toMatchObject({
        code: 'SCALE_STORAGE_SOURCE_INCOMPLETE',
      })
      const stalling = streamOf(png(size), 'stall')
      await expect(app.storage.put(stalling, { idleTimeout: 200 })).rejects.toMatchObject({
        code: 'SCALE_STORAGE_SOURCE_INCOMPLETE',
      })
      expect(stalling.destroyed).toBe(true)
    }
    const read = streamOf(png(1_000))
    await read.toArray()
    await expect(app.storage.put(read)).rejects.toMatchObject({ code: 'SCALE_STORAGE_SOURCE_INCOMPLETE' })
    await expectClean(app)
  })

  test('where the caller ends it: before, and in the middle', async () => {
    const app = await start()
    const reason = new Error('the job took too long')
    await expect(app.storage.put(png(10), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const ending = new AbortController()
    const stream = streamOf(png(12 * MB), 'stall')
    const putting = app.storage.put(stream, { signal: ending.signal })
    putting.catch(() => {})
    await waitFor(async () => (await s3.uploads()).length === 1)
    ending.abort(reason)
    await expect(putting).rejects.toBe(reason)
    expect(stream.destroyed).toBe(true)
    await expectClean(app)
  })

  test('for wrong options and bodies, with their names', async () => {
    const app = await start()
    const wrong: [body: unknown, options: object, named: RegExp][] = [
      ['text', {}, /Buffer/],
      [undefined, {}, /Buffer/],
      [Readable.from([{ a: 1 }]), {}, /objects/],
      [png(10), { contentType: 'png' }, /contentType/],
      [png(10), { contentType: 'image/png', allowedTypes: ['image/*'] }, /allowedTypes/],
      [png(10), { prefix: '../x' }, /prefix/],
      [png(10), { maxBytes: 'big' }, /maxBytes/],
      [png(10), { slotTimeout: -1 }, /slotTimeout/],
      [png(10), { pending: 1 }, /pending/],
      [png(10), { signal: {} }, /signal/],
      [png(10), { filename: 'x' }, /filename/],
    ]
    for (const [body, options, named] of wrong)
      await expect(app.storage.put(body as Buffer, options)).rejects.toMatchObject({
        code: 'SCALE_STORAGE_OPTION',
        message: expect.stringMatching(named),
      })
    await expectClean(app)
  })
})

describe('in bounded time', () => {
  test('it waits for a slot as long as it may', async () => {
    const app = await start()
    const [first, second] = [streamOf(png(1_000), 'stall'), png(2_000)]
    const holding = app.storage.put(first)
    holding.catch(() => {})
    await vi.waitUntil(() => first.readableDidRead)
    await expect(app.storage.put(second, { slotTimeout: 100 })).rejects.toMatchObject({
      code: 'SCALE_STORAGE_BUSY',
      statusCode: 503,
      headers: { 'retry-after': '1' },
    })
    const waiting = app.storage.put(second)
    first.push(null)
    expect((await holding).size).toBe(1_000)
    expect((await waiting).size).toBe(2_000)
  })

  test('closing ends one whose stream stalls, and removes it', async () => {
    const app = await start()
    const stream = streamOf(png(12 * MB), 'stall')
    const putting = app.storage.put(stream)
    const refused = expect(putting).rejects.toMatchObject({ code: 'SCALE_STORAGE_CLOSING', statusCode: 503 })
    await waitFor(async () => (await s3.uploads()).length === 1)
    await app.close()
    await refused
    expect(stream.destroyed).toBe(true)
    expect(await s3.uploads()).toEqual([])
    await expect(app.storage.put(png(10))).rejects.toMatchObject({ code: 'SCALE_STORAGE_CLOSING' })
  })

  const PART = /^PUT \S*partNumber=/
  const faults: [string, number, Intercept][] = [
    ['cuts every connection', 1_000, () => 'cut'],
    ['hangs', 1_000, () => 'hang'],
    [
      'hangs on a part',
      12 * MB,
      ({ chunk, direction }) =>
        direction === 'request' && PART.test(chunk.subarray(0, 2_000).toString('latin1')) ? 'hang' : undefined,
    ],
  ]
  test.each(faults)('S3 %s: 503, and nothing is left', { timeout: 90_000 }, async (_name, size, intercept) => {
    const proxy = await faultProxy({ target: s3.server.endpoint })
    s3.later(() => proxy.stop())
    const app = await start({ endpoint: proxy.url, maxAttempts: 2, requestTimeout: 1_000 })
    for (const body of [png(size), streamOf(png(size))]) {
      proxy.intercept = intercept
      const begun = performance.now()
      await expect(app.storage.put(body)).rejects.toMatchObject({
        code: 'SCALE_STORAGE_UNAVAILABLE',
        statusCode: 503,
        headers: { 'retry-after': '2' },
      })
      // Two attempts of 1 + 1 s, the pause between them and up to 1 s of removal; times five.
      expect(performance.now() - begun).toBeLessThan(30_000)
      if (body instanceof Readable) expect(body.destroyed).toBe(true)
      proxy.intercept = undefined
    }
    await expectClean(app)
  })
})
