import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { faultProxy, waitFor } from '@fastify-scale/dev-services'
import { runDrainSteps, runReadinessChecks } from '@fastify-scale/kit'
import Fastify from 'fastify'
import { describe, expect, test, vi } from 'vitest'
import scaleStorage, { type StoredFile } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { createStorage } from '../src/storage.ts'
import { sweep } from '../src/sweep.ts'
import { filePart, form, listen, png, sendForm, useS3 } from './helpers.ts'

const s3 = useS3()
const MB = 1_024 ** 2

describe('a process that is killed', () => {
  async function runUntilKilled(where: 'persist' | 'parts' | 'pending', until: () => Promise<boolean>): Promise<void> {
    const child = fork(
      fileURLToPath(new URL('fixtures/killed.mjs', import.meta.url)),
      [JSON.stringify(s3.options()), where],
      { execArgv: [] },
    )
    s3.later(() => child.kill('SIGKILL'))
    await once(child, 'message')
    await waitFor(until)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  test('between upload and persist leaves an object that the sweep finds', async () => {
    await runUntilKilled('persist', async () => (await s3.keys()).length === 1)
    expect(await s3.uploads()).toEqual([])
    const engine = createStorage(resolveOptions(s3.options()), { warn() {}, error() {} })
    s3.later(() => engine.destroy())
    const tomorrow = { ...engine.deps, now: () => Date.now() + 25 * 3_600_000 }
    expect(await sweep(tomorrow, { isReferenced: () => false, dryRun: false })).toMatchObject({ deleted: 1 })
    expect(await s3.keys()).toEqual([])
  })

  test('with a pending upload leaves it where the lifecycle rule removes it', async () => {
    await runUntilKilled('pending', async () => (await s3.keys()).length === 1)
    expect(await s3.keys()).toEqual([expect.stringMatching(/^pending\//)])
  })

  test('in the middle leaves parts, which the lifecycle rule removes, and no object', async () => {
    await runUntilKilled('parts', async () => (await s3.uploads()).length === 1)
    expect(await s3.keys()).toEqual([])
    // What the rule does after a day.
    const { Uploads = [] } = await s3.s3.send(new ListMultipartUploadsCommand({ Bucket: s3.bucket }))
    for (const { Key, UploadId } of Uploads)
      await s3.s3.send(new AbortMultipartUploadCommand({ Bucket: s3.bucket, Key, UploadId }))
    expect(await s3.uploads()).toEqual([])
  })
})

describe('closing', () => {
  test('lets uploads that run end', async () => {
    const app = await s3.app({}, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    const url = await listen(app)
    let begun = false
    const { answer } = sendForm(url, async (write) => {
      await write(png(6 * MB))
      await waitFor(async () => (await s3.uploads()).length === 1)
      begun = true
      await new Promise((resolve) => setTimeout(resolve, 300))
      await write(png(MB))
    })
    await waitFor(() => begun)
    const closing = app.close()
    expect(await answer).toMatchObject({ status: 200 })
    await closing
    expect(await s3.keys()).toHaveLength(1)
  })

  test('ends those that do not, when the time is up: 503, and nothing is left', async () => {
    const app = await s3.app({}, (routes) => {
      routes.post('/', async (request) => routes.storage.upload(request))
    })
    const url = await listen(app)
    const { answer } = sendForm(url, async (write) => {
      await write(png(6 * MB))
      await new Promise(() => {})
    })
    await waitFor(async () => (await s3.uploads()).length === 1)
    const [result] = await runDrainSteps(app, 3_000)
    expect(result).toMatchObject({ name: 'storage: uploads', ok: true })
    expect(await answer).toMatchObject({ status: 503, code: 'SCALE_STORAGE_CLOSING' })
    expect(await s3.uploads()).toEqual([])
    const late = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    expect(late.json()).toMatchObject({ code: 'SCALE_STORAGE_CLOSING' })
    await app.close()
    await app.close()
  })

  test('is bounded while S3 hangs and something is left to remove', async () => {
    const proxy = await faultProxy({ target: s3.server.endpoint })
    s3.later(() => proxy.stop())
    const app = await s3.app(
      { endpoint: proxy.url, requestTimeout: 300, maxAttempts: 1 },
      (routes) => {
        routes.post('/', async (request) => routes.storage.upload(request))
      },
      { pluginTimeout: 2_000 },
    )
    proxy.freeze()
    const response = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    expect(response.statusCode).toBe(503)
    const start = performance.now()
    await app.close()
    expect(performance.now() - start).toBeLessThan(10_000)
  })
})

describe('readiness', () => {
  const SECRET = 'v3ry-s3cret-k3y-that-nobody-may-see'
  const KEY_ID = 'AKIDOFSOMEBODYELSE'

  /** An app whose whole log is kept, at the finest level. */
  async function reason(overrides: object): Promise<{ reason: string; log: string; body: string }> {
    let log = ''
    const stream = new Writable({
      write(chunk, _encoding, done) {
        log += String(chunk)
        done()
      },
    })
    const app = Fastify({ logger: { level: 'trace', stream }, pluginTimeout: 2_000 })
    s3.later(() => app.close())
    await app.register(scaleStorage, s3.options({ maxAttempts: 1, requestTimeout: 1_000, ...overrides }))
    app.post('/', async (request) => app.storage.upload(request))
    app.delete('/', async () => app.storage.delete('uploads/0190b5a0-7e2c-7abc-8def-0123456789ab.png'))
    await app.ready()
    const { checks } = await runReadinessChecks(app)
    const uploads = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(100))) })
    const big = await app.inject({ method: 'POST', url: '/', ...form(filePart(png(6 * MB))) })
    const removal = await app.inject({ method: 'DELETE', url: '/' })
    return { reason: checks[0]?.reason ?? 'ready', log, body: uploads.body + big.body + removal.body }
  }

  test.each<[string, () => object, RegExp]>([
    ['a missing bucket', () => ({ bucket: 'no-such-bucket' }), /bucket 'no-such-bucket' at http:\S+ does not exist/],
    [
      'an unknown access key',
      () => ({ credentials: { accessKeyId: KEY_ID, secretAccessKey: SECRET } }),
      /refused the access key: it is not known there/,
    ],
    [
      'a wrong secret key',
      () => ({ credentials: { accessKeyId: s3.server.accessKeyId, secretAccessKey: SECRET } }),
      /refused the secret access key/,
    ],
    [
      'credentials that can not be got',
      () => ({
        credentials: async () => {
          throw Object.assign(new Error(`could not use ${SECRET}`), { name: 'CredentialsProviderError' })
        },
      }),
      /no credentials for bucket/,
    ],
    ['a server that is not there', () => ({ endpoint: 'http://127.0.0.1:1' }), /can't be reached \(ECONNREFUSED\)/],
  ])('%s is named, without a secret in any log or answer', async (_what, overrides, expected) => {
    // The SDK would log whole requests, if it were let.
    const printed = (['log', 'info', 'warn', 'error', 'debug', 'trace'] as const).map((name) => vi.spyOn(console, name))
    s3.later(() => vi.restoreAllMocks())
    const { reason: why, log, body } = await reason(overrides())
    expect(why).toMatch(expected)
    expect(why).toContain("bucket '")
    expect(log).toContain('storage: upload failed')
    for (const method of printed) expect(method).not.toHaveBeenCalled()
    for (const secret of [SECRET, KEY_ID, s3.server.accessKeyId, s3.server.secretAccessKey, 'X-Amz-', 'AWS4-HMAC'])
      for (const text of [why, log, body]) expect(text).not.toContain(secret)
    for (const inside of [s3.bucket, 'no-such-bucket', '127.0.0.1']) expect(body).not.toContain(inside)
  })

  test('a bucket that can be used is ready', async () => {
    const app = await s3.app()
    expect(await runReadinessChecks(app)).toMatchObject({
      ready: true,
      checks: [{ name: 'storage: bucket', ok: true }],
    })
  })
})

describe('registration', () => {
  test('two, under names of their own, do not disturb each other', async () => {
    const other = await s3.server.createBucket()
    const app = await s3.app()
    const second = Fastify()
    s3.later(() => second.close())
    await second.register(scaleStorage, s3.options())
    await second.register(scaleStorage, s3.options({ bucket: other, decorator: 'archive', maxBytes: 10 }))
    second.post('/', { config: { storage: { maxBytes: 2_000 } } }, async (request) => second.storage.upload(request))
    const ok = await second.inject({ method: 'POST', url: '/', ...form(filePart(png(1_500))) })
    expect(ok.json<StoredFile>().bucket).toBe(s3.bucket)
    const over = await second.inject({ method: 'POST', url: '/', ...form(filePart(png(2_001))) })
    expect(over.statusCode).toBe(413)
    expect(app.hasDecorator('archive')).toBe(false)
  })

  test('a wrong value in a route is refused when the route is made', async () => {
    const app = await s3.app({}, (routes) => {
      expect(() => routes.post('/', { config: { storage: { maxBytes: '25 apples' } } }, async () => 'no')).toThrow(
        "option 'maxBytes' must be bytes",
      )
    })
    expect(app.storage).toBeDefined()
  })
})
