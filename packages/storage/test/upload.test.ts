import { describe, expect, test } from 'vitest'
import type { StoredFile } from '../src/index.ts'
import { CDN, PDF, filePart, form, png, sha256, useS3 } from './helpers.ts'

const s3 = useS3()

describe('one file', () => {
  test('goes to S3 byte for byte and leaves a URL', async () => {
    const saved: unknown[] = []
    const app = await s3.app({}, (app) => {
      app.post('/photos', async (request) =>
        app.storage.upload(request, {
          prefix: 'photos',
          allowedTypes: ['image/*'],
          persist: async (file, fields) => void saved.push(file.url, fields.get('caption')),
        }),
      )
    })
    const data = png(300_000)
    const response = await app.inject({
      method: 'POST',
      url: '/photos',
      ...form(filePart(data, 'file', '../../etc/passwd.exe', 'text/html'), { name: 'caption', value: 'a cat' }),
    })
    expect(response.statusCode).toBe(200)
    const file = response.json<StoredFile>()
    expect(file).toEqual({
      url: `${CDN}/${file.key}`,
      key: expect.stringMatching(/^photos\/[0-9a-f-]{36}\.png$/),
      bucket: s3.bucket,
      size: 300_000,
      contentType: 'image/png',
      sha256: sha256(data),
      etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
    })
    expect(saved).toEqual([file.url, 'a cat'])
    expect(sha256(await s3.body(file.key))).toBe(file.sha256)
    expect(await s3.head(file.key)).toMatchObject({
      ContentType: 'image/png',
      CacheControl: 'public, max-age=31536000, immutable',
    })
  })

  // Around the borders of parts: one byte less, exact, one more, and several parts.
  const MB5 = 5 * 1_024 ** 2
  test.each([0, 1, 4_099, 4_100, 4_101, MB5 - 1, MB5, MB5 + 1, 2 * MB5, 2 * MB5 + 1, 17 * 1_024 ** 2])(
    'of %i bytes is stored whole',
    async (size) => {
      const app = await s3.app({}, (app) => {
        app.post('/', async (request) => app.storage.upload(request))
      })
      const data = png(size)
      const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(data)) })
      expect(response.statusCode).toBe(200)
      const file = response.json<StoredFile>()
      expect(file.size).toBe(size)
      expect(file.sha256).toBe(sha256(data))
      expect(sha256(await s3.body(file.key))).toBe(file.sha256)
      expect(await s3.uploads()).toEqual([])
    },
  )
})

describe('several files', () => {
  test('are stored and persisted together', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => {
        const files = await app.storage.upload(request, {
          maxFiles: 3,
          persist: (stored, fields) => expect([stored.length, fields.getAll('tag')]).toEqual([2, ['a', 'b']]),
        })
        return files
      })
    })
    const response = await app.inject({
      method: 'POST',
      url: '/',
      ...form(
        { name: 'tag', value: 'a' },
        filePart(png(100)),
        { name: 'tag', value: 'b' },
        filePart(PDF, 'doc', 'x.pdf', 'application/pdf'),
      ),
    })
    expect(response.statusCode).toBe(200)
    expect(response.json<StoredFile[]>().map((file) => file.contentType)).toEqual(['image/png', 'application/pdf'])
    expect(await s3.keys()).toHaveLength(2)
  })

  test('one too many removes all of them', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => app.storage.upload(request, { maxFiles: 2 }))
    })
    const response = await app.inject({
      method: 'POST',
      url: '/',
      ...form(filePart(png(100)), filePart(png(100)), filePart(png(100))),
    })
    expect(response.statusCode).toBe(413)
    expect(response.json()).toMatchObject({ code: 'SCALE_STORAGE_TOO_MANY_FILES' })
    expect(await s3.keys()).toEqual([])
  })
})

describe('private objects', () => {
  test('are read by a signed URL, in ranges too, and not without', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => app.storage.upload(request, { visibility: 'private', prefix: 'originals' }))
    })
    const data = png(50_000)
    const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(data)) })
    const file = response.json<StoredFile>()
    expect(file.key).toMatch(/^private\/originals\//)
    const url = await app.storage.signedUrl(file.url, { ttl: '1m', downloadAs: 'Kätzchen "1".png' })
    expect(url).not.toMatch(/checksum/i)
    const got = await fetch(url)
    expect(got.status).toBe(200)
    expect(got.headers.get('content-disposition')).toContain("filename*=UTF-8''K%C3%A4tzchen%20%221%22.png")
    expect(sha256(Buffer.from(await got.arrayBuffer()))).toBe(file.sha256)
    const range = await fetch(url, { headers: { range: 'bytes=100-199' } })
    expect(range.status).toBe(206)
    expect(Buffer.from(await range.arrayBuffer())).toEqual(data.subarray(100, 200))
    const bare = new URL(url)
    bare.search = ''
    expect((await fetch(bare)).status).toBe(403)
  })
})

describe('delete', () => {
  test('takes a URL or key of its own, once or twice', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => app.storage.upload(request))
    })
    const file = (await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })).json<StoredFile>()
    await app.storage.delete(file.url)
    await app.storage.delete(file.key)
    expect(await s3.keys()).toEqual([])
  })
})
