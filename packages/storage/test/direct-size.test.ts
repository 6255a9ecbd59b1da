import { PutObjectCommand } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import type { DirectMultipart, StoredFile } from '../src/index.ts'
import { filePart, form, png, postDirect, sha256, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

async function sendParts({ parts }: DirectMultipart, data: Buffer<ArrayBuffer>, numbers: number[]): Promise<void> {
  for (const { partNumber, url, start, end } of parts)
    if (numbers.includes(partNumber))
      expect((await fetch(url, { method: 'PUT', body: data.subarray(start, end) })).status).toBe(200)
}

describe('a large direct upload of which parts are missing', () => {
  test.each([
    ['the first', [2, 3], [1]],
    ['one in the middle', [1, 3], [2]],
    ['the last', [1, 2], [3]],
  ])('%s: is refused, not cut short, and is completed once they are there', async (_which, sent, missing) => {
    const app = await s3.app()
    const data = png(12 * MB)
    const upload = await app.storage.createDirectMultipart({ size: data.length })
    const { key, uploadId } = upload
    const saved: number[] = []
    const complete = () =>
      app.storage.completeDirectUpload(key, { uploadId, hash: true, persist: ({ size }) => void saved.push(size) })
    await sendParts(upload, data, sent)
    await expect(complete()).rejects.toMatchObject({
      code: 'SCALE_STORAGE_INCOMPLETE',
      statusCode: 409,
      message: expect.stringContaining('of 12 MB'),
    })
    expect(saved).toEqual([])
    expect(await s3.uploads()).toEqual([key])
    await sendParts(upload, data, missing)
    expect(await complete()).toMatchObject({ size: data.length, sha256: sha256(data) })
    expect(saved).toEqual([data.length])
    expect(await s3.uploads()).toEqual([])
  })

  test('and were put together all the same: what lies there is refused and removed', async () => {
    const app = await s3.app()
    const { key, uploadId } = await app.storage.createDirectMultipart({ size: 1_000 })
    await app.storage.abortDirectMultipart(key, uploadId)
    await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body: png(900) }))
    await expect(app.storage.completeDirectUpload(key, { uploadId })).rejects.toMatchObject({
      code: 'SCALE_STORAGE_CHECKSUM',
      statusCode: 422,
    })
    expect(await s3.keys()).toEqual([])
  })

  test('larger than S3 takes is refused before it begins', async () => {
    const app = await s3.app()
    await expect(
      app.storage.createDirectMultipart({ size: 5_000 * 1_024 ** 3 + 1, maxBytes: '9TB' }),
    ).rejects.toMatchObject({ code: 'SCALE_STORAGE_OPTION' })
  })
})

describe('completion goes by the size that was signed', () => {
  const MAX = { maxBytes: 1_000 }

  test('of a form', async () => {
    const app = await s3.app(MAX)
    const upload = await app.storage.createDirectUpload({ maxBytes: 2_000 })
    expect((await postDirect(upload, png(1_500))).status).toBe(204)
    expect(await app.storage.completeDirectUpload(upload.key)).toMatchObject({ size: 1_500 })
  })

  test('of parts', async () => {
    const app = await s3.app(MAX)
    const data = png(1_500)
    const upload = await app.storage.createDirectMultipart({ size: data.length, maxBytes: 2_000 })
    await sendParts(upload, data, [1])
    const { key, uploadId } = upload
    expect(await app.storage.completeDirectUpload(key, { uploadId })).toMatchObject({ size: 1_500 })
  })

  test('of what came through the process', async () => {
    const app = await s3.app(MAX, (routes) => {
      routes.post('/', (request) => routes.storage.upload(request, { pending: true, maxBytes: 2_000 }))
    })
    const { key } = (await app.inject({ method: 'POST', url: '/', ...form(filePart(png(1_500))) })).json<StoredFile>()
    expect(await app.storage.completeDirectUpload(key)).toMatchObject({ size: 1_500, contentType: 'image/png' })
  })

  test('unless it says less itself', async () => {
    const app = await s3.app(MAX)
    const upload = await app.storage.createDirectUpload({ maxBytes: 2_000 })
    await postDirect(upload, png(1_500))
    await expect(app.storage.completeDirectUpload(upload.key, MAX)).rejects.toMatchObject({ statusCode: 413 })
    expect(await s3.keys()).toEqual([])
  })

  test('which a client can not raise', async () => {
    const app = await s3.app(MAX)
    const small = await app.storage.createDirectUpload()
    const large = await app.storage.createDirectUpload({ maxBytes: '1GB' })
    const raised = small.key.replace(/\.\w+$/, large.key.slice(large.key.lastIndexOf('.')))
    expect((await postDirect(small, png(1_500))).status).toBe(400)
    expect((await postDirect(small, png(900), { key: raised })).status).toBe(403)
    expect((await postDirect(small, png(900))).status).toBe(204)
    await expect(app.storage.completeDirectUpload(raised)).rejects.toMatchObject({ statusCode: 404 })
    expect(await app.storage.completeDirectUpload(small.key)).toMatchObject({ size: 900 })
  })

  test('and by the default for what an older release signed', async () => {
    const app = await s3.app(MAX)
    const key = (await app.storage.createDirectUpload()).key.replace(/\.\w+$/, '.png')
    await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body: png(1_500) }))
    await expect(app.storage.completeDirectUpload(key)).rejects.toMatchObject({ statusCode: 413 })
  })
})
