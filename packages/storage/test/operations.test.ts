import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import {
  GetBucketCorsCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { waitFor } from '@fastify-scale/dev-services'
import { runCli, runReadinessChecks } from '@fastify-scale/kit'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../src/options.ts'
import { storageProgram } from '../src/program.ts'
import { createStorage } from '../src/storage.ts'
import { sweep } from '../src/sweep.ts'
import { CDN, listen, png, useS3 } from './helpers.ts'

const s3 = useS3()

async function put(key: string, body = 'x'): Promise<void> {
  await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body: body }))
}

async function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = {
    S3_ENDPOINT: s3.server.endpoint,
    S3_BUCKET: s3.bucket,
    S3_ACCESS_KEY_ID: s3.server.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.server.secretAccessKey,
  }
  let out = ''
  let err = ''
  const line = (text: string): void => void (out += `${text}\n`)
  const code = await runCli(storageProgram(env, line), args, { out: line, err: (text) => (err += `${text}\n`) })
  return { code, out, err }
}

describe('sweep', () => {
  const ID = (n: number): string => `0190b5a0-7e2c-7abc-8def-0123456789a${n}`
  const HOUR = 3_600_000

  /** The sweep of an engine whose clock is ahead: S3 does not let anybody choose how old an object is. */
  async function sweepAt(ahead: number, options: Parameters<typeof sweep>[1]): ReturnType<typeof sweep> {
    const engine = createStorage(resolveOptions(s3.options()), { warn() {}, error() {} })
    s3.later(() => engine.destroy())
    return sweep({ ...engine.deps, now: () => Date.now() + ahead }, options)
  }

  test('finds what nothing points to, and deletes it only when told to', async () => {
    const keep = `photos/${ID(1)}.png`
    const orphans = [`photos/${ID(2)}.png`, `private/photos/${ID(3)}`]
    const notOurs = [`pending/photos/${ID(4)}`, 'assets/app.js', 'assets/manifest.json', 'backup.tar']
    for (const key of [keep, ...orphans, ...notOurs]) await put(key)
    const isReferenced = ({ url }: { url: string }): boolean => url === `${CDN}/${keep}`

    const dry = await sweepAt(25 * HOUR, { isReferenced })
    expect(dry).toMatchObject({ checked: 3, deleted: 0, stopped: false })
    expect(dry.orphans.map(({ key }) => key).sort()).toEqual(orphans)
    expect(await s3.keys()).toHaveLength(7)

    const wet = await sweepAt(25 * HOUR, {
      findReferenced: async (urls) => urls.filter((url) => isReferenced({ url })),
      dryRun: false,
    })
    expect(wet.deleted).toBe(2)
    expect((await s3.keys()).sort()).toEqual([keep, ...notOurs].sort())
  })

  test('leaves alone what is younger: it may be in flight', async () => {
    await put(`photos/${ID(1)}.png`)
    const result = await sweepAt(23.9 * HOUR, { isReferenced: () => false, dryRun: false })
    expect(result).toMatchObject({ checked: 0, deleted: 0 })
    expect(await s3.keys()).toHaveLength(1)
  })

  test('stops at maxDeletes, keeps to its prefix, and takes no answer for yes', async () => {
    for (const n of [1, 2, 3]) await put(`a/${ID(n)}.png`)
    await put(`b/${ID(4)}.png`)
    const stopped = await sweepAt(25 * HOUR, { isReferenced: () => false, dryRun: false, prefix: 'a', maxDeletes: 2 })
    expect(stopped).toMatchObject({ deleted: 2, stopped: true })
    expect(await s3.keys()).toHaveLength(2)
    const nothing = await sweepAt(25 * HOUR, { isReferenced: (() => undefined) as never, dryRun: false })
    expect(nothing).toMatchObject({ checked: 2, deleted: 0 })
    await expect(
      sweepAt(25 * HOUR, {
        isReferenced: () => {
          throw new Error('database away')
        },
        dryRun: false,
      }),
    ).rejects.toThrow('database away')
    expect(await s3.keys()).toHaveLength(2)
  })

  const url = `${CDN}/photos/${ID(1)}.png`
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['rows', [{ url }]],
    ['the result of a query', { rows: [{ url }] }],
    ['a text', ''],
    ['a URL that was not asked for', [url, `https://old.example.test/photos/${ID(1)}.png`]],
    ['a key', [`photos/${ID(1)}.png`]],
  ])('deletes nothing where findReferenced returns %s', async (_what, found) => {
    await put(`photos/${ID(1)}.png`)
    for (const findReferenced of [() => found, async () => found])
      await expect(
        sweepAt(25 * HOUR, { findReferenced: findReferenced as never, dryRun: false }),
      ).rejects.toMatchObject({ code: 'SCALE_STORAGE_OPTION', message: expect.stringContaining('findReferenced') })
    expect(await s3.keys()).toHaveLength(1)
  })

  test('takes any iterable from findReferenced', async () => {
    await put(`photos/${ID(1)}.png`)
    for (const found of [[url], new Set([url]), [url, url].values()])
      expect(await sweepAt(25 * HOUR, { findReferenced: () => found })).toMatchObject({ checked: 1, orphans: [] })
  })

  test('through the app; options that could hurt are refused', async () => {
    const app = await s3.app()
    await put(`photos/${ID(1)}.png`)
    expect(await app.storage.sweep({ isReferenced: () => false, dryRun: false })).toMatchObject({ deleted: 0 })
    for (const options of [
      {},
      { isReferenced: () => true, findReferenced: () => [] },
      { isReferenced: () => true, olderThan: '1s' },
      { isReferenced: () => true, prefix: 'pending' },
      { isReferenced: () => true, dryrun: false },
      // Each would delete.
      ...[null, 0, '', NaN].map((dryRun) => ({ isReferenced: () => false, dryRun })),
      { isReferenced: () => true, prefix: 5 },
      { isReferenced: 'yes' },
      { findReferenced: [] },
    ])
      await expect(app.storage.sweep(options as never)).rejects.toMatchObject({ code: 'SCALE_STORAGE_OPTION' })
  })
})

describe('the command line', () => {
  test('puts its lifecycle rules beside those that are there, once', async () => {
    await s3.s3.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: s3.bucket,
        LifecycleConfiguration: {
          Rules: [{ ID: 'logs', Status: 'Enabled', Filter: { Prefix: 'logs/' }, Expiration: { Days: 30 } }],
        },
      }),
    )
    for (let run = 0; run < 2; run++) expect(await cli('lifecycle')).toMatchObject({ code: 0, err: '' })
    const { Rules = [] } = await s3.s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: s3.bucket }))
    const byId = Object.fromEntries(Rules.map((rule) => [rule.ID, rule]))
    expect(Object.keys(byId).sort()).toEqual(['fastify-scale-storage-parts', 'fastify-scale-storage-pending', 'logs'])
    expect(byId['fastify-scale-storage-parts']?.AbortIncompleteMultipartUpload).toEqual({ DaysAfterInitiation: 1 })
    expect(byId['fastify-scale-storage-pending']).toMatchObject({
      Expiration: { Days: 1 },
      Filter: { Prefix: 'pending/' },
    })
  })

  test('lets pages of an origin send direct uploads', async () => {
    for (const origin of ['https://old.example.com', 'https://app.example.com'])
      expect(await cli('cors', origin)).toMatchObject({ code: 0 })
    const { CORSRules = [] } = await s3.s3.send(new GetBucketCorsCommand({ Bucket: s3.bucket }))
    expect(CORSRules.map((rule) => rule.AllowedOrigins)).toEqual([['https://app.example.com']])
    const app = await s3.app()
    const { url } = await app.storage.createDirectUpload()
    const preflight = await fetch(url, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example.com', 'access-control-request-method': 'POST' },
    })
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
    expect(await cli('cors', 'app.example.com/path')).toMatchObject({ code: 2 })
  })

  test.each(['a list of statements', 'one statement alone'])('public-read keeps a policy that has %s', async (form) => {
    const other = {
      Sid: 'Other',
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:ListBucket',
      Resource: `arn:aws:s3:::${s3.bucket}`,
    }
    const Policy = { Version: '2012-10-17', Statement: form === 'one statement alone' ? other : [other] }
    await s3.s3.send(new PutBucketPolicyCommand({ Bucket: s3.bucket, Policy: JSON.stringify(Policy) }))
    for (let run = 0; run < 2; run++) expect(await cli('public-read')).toMatchObject({ code: 0, err: '' })
    const { Policy: now = '' } = await s3.s3.send(new GetBucketPolicyCommand({ Bucket: s3.bucket }))
    const { Statement } = JSON.parse(now) as { Statement: { Sid: string }[] }
    expect(Statement.map(({ Sid }) => Sid)).toEqual(['Other', 'FastifyScaleStoragePublicRead'])
  })

  test('opens the bucket for reading, but for private/ and pending/', async () => {
    for (const key of ['a.png', 'private/a.png', 'pending/a.png']) await put(key)
    expect(await cli('public-read')).toMatchObject({ code: 0, err: '' })
    const status = async (key: string): Promise<number> =>
      (await fetch(`${s3.server.endpoint}/${s3.bucket}/${key}`)).status
    await waitFor(async () => (await status('a.png')) === 200)
    expect([await status('private/a.png'), await status('pending/a.png'), await status('')]).toEqual([403, 403, 403])
  })

  test('says in one line what is wrong, and exits 1 or 2', async () => {
    expect(await cli('check')).toMatchObject({ code: 0 })
    const missing = await cli('check', '--bucket', 'no-such-bucket')
    expect(missing.code).toBe(1)
    expect(missing.err).toMatch(
      /^fastify-scale-storage check: bucket 'no-such-bucket' at http\S+ does not exist: .*\n$/,
    )
    expect(await cli('publish', '/no/such/dir')).toMatchObject({ code: 1 })
    for (const args of [['publish'], ['cors'], ['frobnicate'], ['check', '--endpoint', 'x'], ['check', '--nope']])
      expect(await cli(...args)).toMatchObject({ code: 2 })
  })
})

describe('static assets', () => {
  async function site(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'fastify-scale-storage-'))
    s3.later(() => rm(dir, { recursive: true }))
    await mkdir(join(dir, 'img'))
    await writeFile(join(dir, 'app.js'), 'console.log("hello")\n'.repeat(200))
    await writeFile(join(dir, 'tiny.js'), '1')
    await writeFile(join(dir, 'style.css'), '@import "base.css";\n.a { background: url(img/a%20b.png?x#y) }\n')
    await writeFile(join(dir, 'base.css'), 'b { src: url(\'https://x.example/y.png\'); mask: url("#z") }\n')
    await writeFile(join(dir, 'img/a b.png'), png(500))
    await writeFile(join(dir, '.secret'), 'no')
    return dir
  }

  test('are published under hashed names, for ever, the manifest last, and found by assetUrl', async () => {
    const dir = await site()
    const first = await cli('publish', dir, '--release', 'v1')
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(first.out).toContain('published 5 files: 6 objects sent, 0 were there')
    expect(await cli('publish', dir)).toMatchObject({ out: 'published 5 files: 0 objects sent, 6 were there\n' })
    expect((await s3.keys()).filter((key) => key.includes('secret'))).toEqual([])

    const app = await s3.app({ assets: {} })
    const key = (url: string): string => url.slice(CDN.length + 1)
    const plain = app.storage.assetUrl('app.js')
    expect(plain).toMatch(new RegExp(`^${CDN}/assets/app\\.[0-9a-f]{16}\\.js$`))
    expect(await s3.head(key(plain))).toMatchObject({
      ContentType: 'text/javascript; charset=utf-8',
      CacheControl: 'public, max-age=31536000, immutable',
    })
    const packed = app.storage.assetUrl('app.js', { acceptEncoding: 'br, gzip;q=0.8' })
    expect(packed).toBe(`${plain}.gz`)
    expect(await s3.head(key(packed))).toMatchObject({
      ContentEncoding: 'gzip',
      ContentType: 'text/javascript; charset=utf-8',
    })
    expect(gunzipSync(await s3.body(key(packed)))).toEqual(await s3.body(key(plain)))
    expect(app.storage.assetUrl('app.js', { acceptEncoding: 'gzip;q=0' })).toBe(plain)
    // Nothing to gain.
    expect(app.storage.assetUrl('tiny.js', { acceptEncoding: 'gzip' })).toMatch(/\.js$/)
    // References between files follow the names.
    const css = (await s3.body(key(app.storage.assetUrl('style.css')))).toString()
    const image = key(app.storage.assetUrl('img/a b.png')).slice('assets/'.length)
    expect(css).toContain(`url(${image}?x#y)`)
    expect(css).toContain(`@import "${key(app.storage.assetUrl('base.css')).slice('assets/'.length)}"`)
    expect(() => app.storage.assetUrl('nope.js')).toThrow("there is no asset 'nope.js'")
    expect(() => app.storage.assetUrl('__proto__')).toThrow('there is no asset')
  })

  test('a release keeps its own URLs while the next one is published', async () => {
    const dir = await site()
    await cli('publish', dir, '--release', 'v1')
    const before = await s3.app({ assets: { release: 'v1' } })
    const old = before.storage.assetUrl('app.js')
    await writeFile(join(dir, 'app.js'), 'new')
    await cli('publish', dir, '--release', 'v2')
    const [again, next, latest] = await Promise.all([
      s3.app({ assets: { release: 'v1' } }),
      s3.app({ assets: { release: 'v2' } }),
      s3.app({ assets: {} }),
    ])
    expect(again.storage.assetUrl('app.js')).toBe(old)
    expect(next.storage.assetUrl('app.js')).not.toBe(old)
    expect(latest.storage.assetUrl('app.js')).toBe(next.storage.assetUrl('app.js'))
    expect((await s3.body(old.slice(CDN.length + 1))).toString()).toContain('hello')
  })

  test('not published yet: not ready, and ready by itself once they are', async () => {
    const app = await s3.app({ assets: { retryDelay: 20 } })
    const check = async (): Promise<{ ok: boolean; reason?: string } | undefined> =>
      (await runReadinessChecks(app)).checks.find(({ name }) => name === 'storage: asset manifest')
    expect(await check()).toMatchObject({
      ok: false,
      reason: `there is no assets/manifest.json in bucket '${s3.bucket}': run fastify-scale-storage publish`,
    })
    expect(() => app.storage.assetUrl('app.js')).toThrow('the asset manifest is not there')
    await cli('publish', await site())
    await waitFor(async () => (await check())?.ok)
    expect(app.storage.assetUrl('app.js')).toContain('/assets/app.')
  })

  test('in development are served by the process, beside whatever else serves files', async () => {
    const dir = await site()
    const app = await s3.app({ assets: { dir } })
    const base = await listen(app)
    expect(app.storage.assetUrl('img/a b.png')).toBe('/assets/img/a%20b.png')
    const got = await fetch(base + app.storage.assetUrl('app.js', { acceptEncoding: 'gzip' }))
    expect([got.status, got.headers.get('content-type')]).toEqual([200, 'application/javascript; charset=utf-8'])
    for (const name of ['nope.js', '../x', 'img', '', 'img/../app.js', 'a\\b'])
      expect(() => app.storage.assetUrl(name)).toThrow('there is no asset')
  })

  test('without the option assetUrl says so', async () => {
    const app = await s3.app()
    expect(() => app.storage.assetUrl('app.js')).toThrow("pass the option 'assets'")
  })
})
