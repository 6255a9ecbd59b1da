import { PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { faultProxy, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { describe, expect, test } from 'vitest'
import { copyObject } from '../src/copy.ts'
import type { StoredFile } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { createStorage } from '../src/storage.ts'
import { CDN, PDF, filePart, form, png, postDirect as post, sha256, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

describe('a direct upload', () => {
  test('lands under pending/, is completed to a key of its own, and leaves nothing pending', async () => {
    const app = await s3.app()
    const data = png(50_000)
    const upload = await app.storage.createDirectUpload({
      prefix: 'photos',
      maxBytes: '1MB',
      contentType: 'image/png',
      sha256: sha256(data).toUpperCase(),
    })
    expect(upload.key).toMatch(/^pending\/photos\/[0-9a-f-]{36}\.0[0-9a-z]+$/)
    expect(JSON.stringify(upload)).not.toMatch(/checksum/i)
    expect((await post(upload, data)).status).toBe(204)
    expect(await s3.keys()).toEqual([upload.key])

    const saved: string[] = []
    const file = await app.storage.completeDirectUpload(upload.key, {
      allowedTypes: ['image/*'],
      persist: (stored) => void saved.push(stored.url),
    })
    expect(file).toEqual({
      url: `${CDN}/${file.key}`,
      key: expect.stringMatching(/^photos\/[0-9a-f-]{36}\.png$/),
      bucket: s3.bucket,
      size: 50_000,
      contentType: 'image/png',
      sha256: sha256(data),
      etag: expect.any(String),
    })
    expect(saved).toEqual([file.url])
    expect(await s3.keys()).toEqual([file.key])
    const head = await s3.head(file.key)
    expect(head).toMatchObject({ ContentType: 'image/png', CacheControl: 'public, max-age=31536000, immutable' })
    expect(head).toMatchObject({ Metadata: {} })
    expect(head['ContentDisposition']).toBeUndefined()
    await expect(app.storage.completeDirectUpload(upload.key)).rejects.toMatchObject({
      code: 'SCALE_STORAGE_NOT_FOUND',
      statusCode: 404,
    })
  })

  test('is refused by S3 where it is too large, expired, tampered with, or for another key', async () => {
    const app = await s3.app()
    const upload = await app.storage.createDirectUpload({ maxBytes: 1_000, contentType: 'image/png' })
    const other = await app.storage.createDirectUpload()
    const statuses = {
      tooLarge: (await post(upload, png(1_001))).status,
      otherKey: (await post(upload, png(100), { key: other.key })).status,
      outOfPending: (await post(upload, png(100), { key: upload.key.slice('pending/'.length) })).status,
      otherType: (await post(upload, png(100), { 'Content-Type': 'text/html' })).status,
      inline: (await post(upload, png(100), { 'Content-Disposition': 'inline' })).status,
      signature: (await post(upload, png(100), { 'X-Amz-Signature': '0'.repeat(64) })).status,
      otherPolicy: (await post(upload, png(100), { Policy: other.fields['Policy'] ?? '' })).status,
    }
    expect(statuses).toEqual({
      tooLarge: 400,
      otherKey: 403,
      outOfPending: 403,
      otherType: 403,
      inline: 403,
      signature: 403,
      otherPolicy: 403,
    })
    const short = await app.storage.createDirectUpload({ ttl: '1s' })
    await new Promise((resolve) => setTimeout(resolve, Date.parse(short.expiresAt) - Date.now() + 1_000))
    expect((await post(short, png(100))).status).toBe(403)
    expect(await s3.keys()).toEqual([])
  })

  test.each<[string, Buffer<ArrayBuffer>, object, object]>([
    ['is larger than completion allows', png(2_000), { maxBytes: 1_000 }, { statusCode: 413 }],
    ['is not what it may be', PDF, { allowedTypes: ['image/*'] }, { statusCode: 415 }],
  ])('%s: refused and removed', async (_what, data, options, expected) => {
    const app = await s3.app()
    const upload = await app.storage.createDirectUpload()
    await post(upload, data)
    await expect(app.storage.completeDirectUpload(upload.key, options)).rejects.toMatchObject(expected)
    expect(await s3.keys()).toEqual([])
  })

  test('that is not what its SHA-256 says is refused and removed', async () => {
    const app = await s3.app()
    const upload = await app.storage.createDirectUpload({ sha256: '0'.repeat(64) })
    await post(upload, png(100))
    await expect(app.storage.completeDirectUpload(upload.key)).rejects.toMatchObject({
      code: 'SCALE_STORAGE_CHECKSUM',
      statusCode: 422,
    })
    expect(await s3.keys()).toEqual([])
  })

  test('can be completed again when persist failed, and the failure leaves no copy', async () => {
    const app = await s3.app()
    const upload = await app.storage.createDirectUpload()
    await post(upload, png(100))
    const failing = app.storage.completeDirectUpload(upload.key, {
      persist: async () => {
        throw Object.assign(new Error('database away'), { code: 'DB' })
      },
    })
    await expect(failing).rejects.toMatchObject({ code: 'DB' })
    expect(await s3.keys()).toEqual([upload.key])
    const file = await app.storage.completeDirectUpload(upload.key, { hash: true })
    expect(file.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(await s3.keys()).toEqual([file.key])
  })

  test('completed twice at once: what one has saved, the failure of the other does not remove', async () => {
    const app = await s3.app()
    const upload = await app.storage.createDirectUpload()
    await post(upload, png(100))
    const saved: string[] = []
    const results = await Promise.allSettled(
      [1, 2].map(() =>
        app.storage.completeDirectUpload(upload.key, {
          // A unique column on the upload, as an application would have.
          persist: (file) => {
            if (saved.length > 0) throw new Error('duplicate')
            saved.push(file.key)
          },
        }),
      ),
    )
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect(await s3.keys()).toEqual(saved)
  })

  test('replaced while it is completed is not let through by what lay there before', async () => {
    const proxy = await faultProxy({ target: s3.server.endpoint })
    s3.later(() => proxy.stop())
    const app = await s3.app({ endpoint: proxy.url, publicEndpoint: s3.server.endpoint })
    const page = Buffer.from('<html><script>alert(1)</script>')
    const upload = await app.storage.createDirectUpload()
    await post(upload, png(page.length))
    // The form still works: between the look and the copy a page of the same size is sent.
    let looked = false
    proxy.intercept = ({ direction }) => {
      if (direction === 'request' || looked) return
      looked = true
      proxy.freeze()
    }
    const completed = app.storage.completeDirectUpload(upload.key, { allowedTypes: ['image/*'] })
    await waitFor(() => looked)
    await post(upload, page)
    proxy.thaw()
    await expect(completed).rejects.toMatchObject({ code: 'SCALE_STORAGE_CHECKSUM' })
    expect((await s3.keys()).filter((key) => !key.startsWith('pending/'))).toEqual([])
  })

  test.each(['photos/0190b5a0-7e2c-7abc-8def-0123456789ab.png', 'pending/../secret', 'pending/x', '', 'pending/'])(
    'key %j is not one that can be completed',
    async (key) => {
      const app = await s3.app()
      await expect(app.storage.completeDirectUpload(key)).rejects.toMatchObject({ statusCode: 404 })
      await expect(app.storage.abortDirectMultipart(key, 'x')).rejects.toMatchObject({ statusCode: 404 })
    },
  )

  test('a file uploaded as pending through the process is completed in the same way', async () => {
    const app = await s3.app({}, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request, { pending: true, visibility: 'private' }))
    })
    const pending = (await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })).json<StoredFile>()
    expect(pending.key).toMatch(/^pending\/private\/uploads\//)
    const file = await app.storage.completeDirectUpload(pending.key)
    expect(file.key).toMatch(/^private\/uploads\/.*\.png$/)
    expect(await s3.keys()).toEqual([file.key])
  })

  test("what is pending is nobody's to read, also where ACLs open what is public", async () => {
    const app = await s3.app({ acl: true, publicBaseUrl: `${s3.server.endpoint}/${s3.bucket}` }, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request, { pending: true }))
    })
    const uploaded = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    for (const pending of [uploaded.json<StoredFile>(), await app.storage.put(png(100), { pending: true })]) {
      expect((await fetch(pending.url)).status).toBe(403)
      expect(await s3.head(pending.key)).toMatchObject({
        CacheControl: 'private, no-cache',
        ContentDisposition: 'attachment',
      })
      const { url } = await app.storage.completeDirectUpload(pending.key)
      const response = await fetch(url)
      expect([response.status, response.headers.get('content-disposition')]).toEqual([200, null])
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    }
  })
})

describe('a large direct upload', () => {
  async function begin(
    app: FastifyInstance,
    data: Buffer,
  ): Promise<Awaited<ReturnType<typeof app.storage.createDirectMultipart>>> {
    return app.storage.createDirectMultipart({ size: data.length, prefix: 'videos', contentType: 'image/png' })
  }

  test('goes up in parts, in any order, and is completed', async () => {
    const app = await s3.app()
    const data = png(12 * MB + 5)
    const upload = await begin(app, data)
    expect(upload.parts.map(({ start, end }) => [start, end])).toEqual([
      [0, 5 * MB],
      [5 * MB, 10 * MB],
      [10 * MB, 12 * MB + 5],
    ])
    for (const { url, start, end } of upload.parts.toReversed()) {
      expect(url).not.toMatch(/checksum/i)
      expect((await fetch(url, { method: 'PUT', body: data.subarray(start, end) })).status).toBe(200)
    }
    const file = await app.storage.completeDirectUpload(upload.key, { uploadId: upload.uploadId, hash: true })
    expect(file).toMatchObject({ size: data.length, contentType: 'image/png', sha256: sha256(data) })
    expect(await s3.keys()).toEqual([file.key])
    expect(await s3.uploads()).toEqual([])
  })

  test('is held to the length of each part by S3', async () => {
    const app = await s3.app()
    const upload = await begin(app, png(100))
    const response = await fetch(upload.parts[0]?.url ?? '', { method: 'PUT', body: png(101) })
    expect(response.status).toBe(403)
  })

  test('of more parts than allowed is refused and gone', async () => {
    const app = await s3.app()
    const upload = await begin(app, png(100))
    for (const PartNumber of [1, 2])
      await s3.s3.send(
        new UploadPartCommand({
          Bucket: s3.bucket,
          Key: upload.key,
          UploadId: upload.uploadId,
          PartNumber,
          Body: png(600),
        }),
      )
    await expect(
      app.storage.completeDirectUpload(upload.key, { uploadId: upload.uploadId, maxBytes: 1_000 }),
    ).rejects.toMatchObject({ statusCode: 413 })
    expect(await s3.uploads()).toEqual([])
    expect(await s3.keys()).toEqual([])
  })

  test('can be completed again when persist failed, and given up', async () => {
    const app = await s3.app()
    const data = png(100)
    const upload = await begin(app, data)
    await fetch(upload.parts[0]?.url ?? '', { method: 'PUT', body: data })
    const { uploadId } = upload
    const persist = (): never => {
      throw new Error('database away')
    }
    await expect(app.storage.completeDirectUpload(upload.key, { uploadId, persist })).rejects.toThrow('database away')
    const file = await app.storage.completeDirectUpload(upload.key, { uploadId })
    expect(await s3.keys()).toEqual([file.key])

    const second = await begin(app, data)
    expect(await s3.uploads()).toHaveLength(1)
    await app.storage.abortDirectMultipart(second.key, second.uploadId)
    await app.storage.abortDirectMultipart(second.key, second.uploadId)
    expect(await s3.uploads()).toEqual([])
  })

  test('larger than maxBytes is refused before it begins', async () => {
    const app = await s3.app()
    await expect(app.storage.createDirectMultipart({ size: 2_000, maxBytes: 1_000 })).rejects.toMatchObject({
      statusCode: 413,
    })
    expect(await s3.uploads()).toEqual([])
  })
})

describe('a copy of more than S3 copies at once', () => {
  test('is made in parts, and is the one that was looked at', async () => {
    const engine = createStorage(resolveOptions(s3.options()), { warn() {}, error() {} })
    s3.later(() => engine.destroy())
    const data = png(12 * MB)
    const { ETag: etag = '' } = await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'from', Body: data }))
    const params = { Bucket: s3.bucket, Key: 'to', ContentType: 'image/png' }
    const limits = { single: MB, part: 5 * MB }
    const copied = await copyObject(engine.deps, { key: 'from', etag, size: data.length }, params, limits)
    expect(copied.etag).toContain('-3')
    expect(sha256(await s3.body('to'))).toBe(sha256(data))
    const gone = copyObject(engine.deps, { key: 'nothing', etag, size: data.length }, params, limits)
    await expect(gone).rejects.toMatchObject({ name: 'S3Error', missing: true })
    expect(await s3.uploads()).toEqual([])
  })
})
