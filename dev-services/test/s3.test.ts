import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { cacheDir, isAlive, startS3, type S3Server } from '../src/index.ts'
import { childrenOf } from '../src/proc.ts'

let server: S3Server
let s3: S3Client
let Bucket: string

function client(overrides: Partial<{ accessKeyId: string; secretAccessKey: string }> = {}): S3Client {
  const { accessKeyId, secretAccessKey, endpoint, region } = server
  return new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey, ...overrides },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
  })
}

beforeAll(async () => {
  server = await startS3()
  s3 = client()
  Bucket = await server.createBucket()
})

afterAll(async () => {
  s3?.destroy()
  await server?.stop()
})

describe('startS3', () => {
  test('has its bucket from the start; put and get give the same bytes', async () => {
    const Body = randomBytes(3_000_000)
    await s3.send(new PutObjectCommand({ Bucket: server.bucket, Key: 'a b/ü', Body, ContentType: 'image/png' }))
    const got = await s3.send(new GetObjectCommand({ Bucket: server.bucket, Key: 'a b/ü' }))
    expect(got.ContentType).toBe('image/png')
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(Body)).toBe(true)
    expect(got.ETag).toBe(`"${createHash('md5').update(Body).digest('hex')}"`)
  })

  test('multipart: parts become one object; an aborted upload leaves nothing', async () => {
    const parts = [randomBytes(5 * 1024 * 1024), randomBytes(1000)]
    const begin = async (Key: string): Promise<string> =>
      (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId ?? ''
    const UploadId = await begin('big')
    const uploaded = []
    for (const [index, Body] of parts.entries()) {
      const PartNumber = index + 1
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'big', UploadId, PartNumber, Body }))
      uploaded.push({ ETag, PartNumber })
    }
    const MultipartUpload = { Parts: uploaded }
    await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'big', UploadId, MultipartUpload }))
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'big' }))
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(Buffer.concat(parts))).toBe(true)

    const aborted = await begin('never')
    await s3.send(new UploadPartCommand({ Bucket, Key: 'never', UploadId: aborted, PartNumber: 1, Body: parts[0] }))
    expect((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads).toHaveLength(1)
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'never', UploadId: aborted }))
    expect((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).toEqual([])
    await expect(s3.send(new HeadObjectCommand({ Bucket, Key: 'never' }))).rejects.toMatchObject({ name: 'NotFound' })
  })

  test('a wrong signature and an unknown key are refused, and so is nobody', async () => {
    const put = new PutObjectCommand({ Bucket, Key: 'x', Body: 'x' })
    await expect(client({ secretAccessKey: 'wrong' }).send(put)).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
    })
    await expect(client({ accessKeyId: 'unknown' }).send(put)).rejects.toMatchObject({ name: 'InvalidAccessKeyId' })
    expect((await fetch(`${server.endpoint}/${Bucket}/x`)).status).toBe(403)
  })

  test('a presigned POST enforces its size limit', async () => {
    const post = await createPresignedPost(s3, {
      Bucket,
      Key: 'posted',
      Conditions: [['content-length-range', 1, 10]],
      Expires: 60,
    })
    const send = async (text: string): Promise<number> => {
      const form = new FormData()
      for (const [name, value] of Object.entries(post.fields)) form.append(name, value)
      form.append('file', new Blob([text]))
      return (await fetch(post.url, { method: 'POST', body: form })).status
    }
    expect(await send('x'.repeat(11))).toBe(400)
    expect(await send('x'.repeat(10))).toBe(204)
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'posted' }))).ContentLength).toBe(10)
  })

  test('createBucket says why it failed', async () => {
    await expect(server.createBucket('No')).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_REQUEST_FAILED',
      message: expect.stringContaining('InvalidBucketName'),
    })
  })

  test('freeze and thaw; kill and restart on the same port, with the objects', async () => {
    await s3.send(new PutObjectCommand({ Bucket, Key: 'kept', Body: 'kept' }))
    server.freeze()
    const answer = s3.send(new HeadObjectCommand({ Bucket, Key: 'kept' }))
    expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 300, 'silence'))])).toBe('silence')
    server.thaw()
    expect((await answer).ContentLength).toBe(4)
    await server.kill()
    await expect(fetch(server.endpoint)).rejects.toThrow('fetch failed')
    await server.restart()
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'kept' }))).ContentLength).toBe(4)
  })

  test('stop ends all three daemons, twice', async () => {
    const before = new Set(childrenOf(process.pid))
    const other = await startS3()
    onTestFinished(() => other.stop())
    const daemons = childrenOf(process.pid).filter((pid) => !before.has(pid))
    expect(daemons.length).toBeGreaterThanOrEqual(3)
    await Promise.all([other.stop(), other.stop()])
    expect(daemons.filter(isAlive)).toEqual([])
  })

  test('starts wherever the cache is, whatever letters its path has', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'dev-services-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    const cache = join(dir, 'Büro #1, "mine"')
    mkdirSync(cache)
    symlinkSync(join(cacheDir(), 'debian'), join(cache, 'debian'))
    vi.stubEnv('FASTIFY_SCALE_CACHE', cache)
    const lines: string[] = []
    const other = await startS3({ onProgress: (line) => lines.push(line) }).finally(() => vi.unstubAllEnvs())
    onTestFinished(() => other.stop())
    expect(lines).toEqual([])
    expect((await fetch(other.endpoint)).ok).toBe(true)
  })
})
