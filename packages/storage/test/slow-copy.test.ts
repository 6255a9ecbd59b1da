import { PutObjectCommand } from '@aws-sdk/client-s3'
import { type FaultProxy, faultProxy, waitFor } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
import { copyObject } from '../src/copy.ts'
import type { ScaleStorageOptions } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { type StorageEngine, createStorage } from '../src/storage.ts'
import { png, postDirect, sha256, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

/** Holds the answer of each copy back for so many ms, as S3 does while it copies. */
async function slowCopies(ms: number): Promise<{ proxy: FaultProxy; asked(): number }> {
  const proxy = await faultProxy({ target: s3.server.endpoint })
  s3.later(() => proxy.stop())
  let asked = 0
  proxy.intercept = ({ direction, chunk }) => {
    if (direction === 'response' || !/^x-amz-copy-source:/im.test(chunk.toString('latin1'))) return
    asked++
    proxy.freeze()
    const start = performance.now()
    void waitFor(() => performance.now() - start > ms).then(() => proxy.thaw())
  }
  return { proxy, asked: () => asked }
}

function engineOf(overrides: Partial<ScaleStorageOptions>): StorageEngine {
  const engine = createStorage(resolveOptions(s3.options(overrides)), { warn() {}, error() {} })
  s3.later(() => engine.destroy())
  return engine
}

describe('a copy that takes S3 longer than the answer to another request may', () => {
  const SHORT = { requestTimeout: 1_000, connectionTimeout: 5_000, maxAttempts: 1 }

  test('completes a direct upload', async () => {
    const { proxy, asked } = await slowCopies(1_400)
    const app = await s3.app({ ...SHORT, endpoint: proxy.url, publicEndpoint: s3.server.endpoint })
    const upload = await app.storage.createDirectUpload()
    expect((await postDirect(upload, png(1_000))).status).toBe(204)
    const file = await app.storage.completeDirectUpload(upload.key)
    expect(file).toMatchObject({ size: 1_000, contentType: 'image/png' })
    expect(await s3.keys()).toEqual([file.key])
    expect(asked()).toBe(1)
  })

  test('may be one of several parts', async () => {
    const { proxy, asked } = await slowCopies(1_400)
    const engine = engineOf({ ...SHORT, endpoint: proxy.url })
    const data = png(6 * MB)
    const { ETag: etag = '' } = await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'from', Body: data }))
    const params = { Bucket: s3.bucket, Key: 'to', ContentType: 'image/png' }
    await copyObject(engine.deps, { key: 'from', etag, size: data.length }, params, { single: MB, part: 5 * MB })
    expect(sha256(await s3.body('to'))).toBe(sha256(data))
    expect(asked()).toBe(2)
  })

  test('has time that grows with the size, and no more', async () => {
    const { proxy, asked } = await slowCopies(5_000)
    // 2.5 s for one request with all its attempts.
    const engine = engineOf({ requestTimeout: 1_000, connectionTimeout: 500, maxAttempts: 1, endpoint: proxy.url })
    const { ETag: etag = '' } = await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'from', Body: 'x' }))
    // S3 copies what is there, whatever size is said: the small one is as good as a large one.
    const copy = (size: number): Promise<{ etag: string }> =>
      copyObject(engine.deps, { key: 'from', etag, size }, { Bucket: s3.bucket, Key: 'to', ContentType: 'text/plain' })
    await copy(250 * MB)
    expect(asked()).toBe(1)
    await expect(copy(1)).rejects.toMatchObject({ name: 'S3Error', failure: { reason: 'TimeoutError' } })
    expect(asked()).toBe(2)
  })
})
