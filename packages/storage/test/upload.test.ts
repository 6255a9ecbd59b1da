import { describe, expect, test } from 'vitest'
import { type StoredFile, uploadFailed, uploadStored } from '../src/index.ts'
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

describe('what is seen of an upload', () => {
  test('its progress, and messages on the channels', async () => {
    const seen: unknown[] = []
    const stops = [
      uploadStored.subscribe(({ size, contentType }) => seen.push({ size, contentType })),
      uploadFailed.subscribe(({ code }) => seen.push({ code })),
    ]
    const progress: number[] = []
    const app = await s3.app({ maxBytes: 200_000 }, (app) => {
      app.post('/', async (request) =>
        app.storage.upload(request, { onProgress: ({ loaded }) => void progress.push(loaded) }),
      )
    })
    await app.inject({ method: 'POST', url: '/', ...form(filePart(png(150_000))) })
    expect(progress.at(-1)).toBe(150_000)
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
    await app.inject({ method: 'POST', url: '/', ...form(filePart(png(200_001))) })
    for (const stop of stops) stop()
    expect(seen).toEqual([{ size: 150_000, contentType: 'image/png' }, { code: 'SCALE_STORAGE_TOO_LARGE' }])
  })

  test('SVG and HTML are served as a download, under their own types', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => app.storage.upload(request))
    })
    for (const [text, contentType] of [
      ['<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 'image/svg+xml'],
      ['<!doctype html><script>alert(1)</script>', 'text/html'],
    ] as const) {
      const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(Buffer.from(text))) })
      const { key } = response.json<StoredFile>()
      expect(await s3.head(key)).toMatchObject({ ContentType: contentType, ContentDisposition: 'attachment' })
    }
  })

  test('a callback of the caller that throws is the answer, and nothing is left', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) =>
        app.storage.upload(request, {
          onProgress: () => {
            throw Object.assign(new Error('no'), { statusCode: 418 })
          },
        }),
      )
    })
    expect((await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })).statusCode).toBe(418)
    expect(await s3.keys()).toEqual([])
  })

  test('the second time for one request is refused', async () => {
    const app = await s3.app({}, (app) => {
      app.post('/', async (request) => {
        await app.storage.upload(request)
        return app.storage.upload(request)
      })
    })
    const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    expect(response.json()).toMatchObject({ code: 'SCALE_STORAGE_BODY_CONSUMED' })
  })
})
