import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { type FaultProxy, type Intercept, faultProxy } from '@fastify-scale/dev-services'
import { runCli } from '@fastify-scale/kit'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../src/options.ts'
import { storageProgram } from '../src/program.ts'
import { createStorage } from '../src/storage.ts'
import { type SweepResult, sweep } from '../src/sweep.ts'
import { CDN, useS3 } from './helpers.ts'

const s3 = useS3()

async function startProxy(): Promise<FaultProxy> {
  const proxy = await faultProxy({ target: s3.server.endpoint })
  s3.later(() => proxy.stop())
  return proxy
}

async function cli(endpoint: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = {
    S3_ENDPOINT: endpoint,
    S3_BUCKET: s3.bucket,
    S3_ACCESS_KEY_ID: s3.server.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.server.secretAccessKey,
  }
  let [out, err] = ['', '']
  const line = (text: string): void => void (out += `${text}\n`)
  const code = await runCli(storageProgram(env, line), args, { out: line, err: (text) => (err += `${text}\n`) })
  return { code, out, err }
}

/** Cuts the connection at each request that fits. */
const cutting =
  (fits: (request: string) => boolean): Intercept =>
  ({ direction, chunk }) =>
    direction === 'request' && fits(chunk.subarray(0, 1_000).toString('latin1')) ? 'cut' : undefined

/** Answers each request that fits as S3 does when it is overloaded, whatever the server has done with it. */
function overloaded(fits: (request: string) => boolean): Intercept {
  const marked = new Set<number>()
  return ({ direction, chunk, connection }) => {
    if (direction === 'request') {
      if (fits(chunk.subarray(0, 1_000).toString('latin1'))) marked.add(connection)
      return undefined
    }
    if (!marked.delete(connection)) return undefined
    return Buffer.from(
      'HTTP/1.1 503 Slow Down\r\nContent-Length: 49\r\nConnection: close\r\n\r\n<Error><Code>SlowDown</Code><Message/></Error>   ',
    )
  }
}

const rulesOf = async (): Promise<LifecycleRule[]> =>
  (await s3.s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: s3.bucket }))).Rules ?? []

describe('the lifecycle command', () => {
  const setRules = (rules: LifecycleRule[]) =>
    s3.s3.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: s3.bucket,
        LifecycleConfiguration: { Rules: rules },
      }),
    )
  const LOGS: LifecycleRule = { ID: 'logs', Status: 'Enabled', Filter: { Prefix: 'logs/' }, Expiration: { Days: 30 } }

  test('keeps a rule of the old form, whose prefix is in no filter', async () => {
    await setRules([{ ID: 'old', Status: 'Enabled', Prefix: 'old/', Expiration: { Days: 7 } }])
    for (let run = 0; run < 2; run++) expect(await cli(s3.server.endpoint, 'lifecycle')).toMatchObject({ code: 0 })
    const rules = await rulesOf()
    expect(rules.map(({ ID }) => ID).sort()).toEqual([
      'fastify-scale-storage-parts',
      'fastify-scale-storage-pending',
      'old',
    ])
    const old = rules.find(({ ID }) => ID === 'old')
    expect([old?.Prefix ?? old?.Filter?.Prefix, old?.Expiration?.Days]).toEqual(['old/', 7])
  })

  test.each([
    ['reading them fails', (request: string) => /^GET \S*lifecycle/.test(request)],
    ['writing them fails', (request: string) => /^PUT \S*lifecycle/.test(request)],
  ])(
    'leaves the rules of others alone where %s, and does it the next time',
    { timeout: 60_000 },
    async (_name, fits) => {
      await setRules([LOGS])
      const proxy = await startProxy()
      for (const fault of [cutting(fits), overloaded(fits)]) {
        proxy.intercept = fault
        const { code, err } = await cli(proxy.url, 'lifecycle')
        expect(code).toBe(1)
        expect(err).toMatch(/^fastify-scale-storage lifecycle: bucket '\S+': S3 refused it \(.*\)\n$/)
        // A write whose answer was lost may have been done.
        expect((await rulesOf()).map(({ ID }) => ID)).toContain('logs')
      }
      proxy.intercept = undefined
      expect(await cli(proxy.url, 'lifecycle')).toMatchObject({ code: 0, err: '' })
      expect(await rulesOf()).toHaveLength(3)
    },
  )

  test('may be run by several at once', async () => {
    await setRules([LOGS])
    const runs = await Promise.all(Array.from({ length: 4 }, () => cli(s3.server.endpoint, 'lifecycle')))
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0])
    expect(await rulesOf()).toHaveLength(3)
  })
})

describe('publish', () => {
  const FILES = 30
  async function site(text: string): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'fastify-scale-storage-'))
    s3.later(() => rm(dir, { recursive: true }))
    for (let n = 0; n < FILES; n++) await writeFile(join(dir, `file-${n}.js`), `${text} ${n}`)
    await writeFile(join(dir, 'style.css'), `/* ${text} */ a { background: url(file-3.js) }`)
    return dir
  }
  const manifest = async (): Promise<string> => (await s3.body('assets/manifest.json')).toString()

  test.each([
    ['cuts the connection', cutting],
    ['is overloaded', overloaded],
  ])(
    'that S3 fails in the middle (it %s) names nothing new, stops, and is finished by the next run',
    {
      timeout: 90_000,
    },
    async (_name, fault) => {
      const proxy = await startProxy()
      expect(await cli(proxy.url, 'publish', await site('old'))).toMatchObject({ code: 0 })
      const before = await manifest()
      const [oldKeys, dir] = [await s3.keys(), await site('new')]
      const sent = new Set<string>()
      proxy.intercept = fault((request) => {
        const [, file] = /^PUT \S*\/(file-\d+)\./.exec(request) ?? []
        if (file) sent.add(file)
        // From the tenth file on, for good.
        return file !== undefined && [...sent].indexOf(file) >= 10
      })
      const failed = await cli(proxy.url, 'publish', dir, '--release', 'v2')
      expect(failed.code).toBe(1)
      expect(failed.err).toContain('S3 refused it')
      // The rest of the files is not tried any more.
      expect(sent.size).toBeLessThan(20)
      expect(await manifest()).toBe(before)
      expect((await s3.keys()).filter((key) => key.includes('v2'))).toEqual([])

      const there = (await s3.keys()).length - oldKeys.length
      proxy.intercept = undefined
      const again = await cli(proxy.url, 'publish', dir, '--release', 'v2')
      expect(again.out).toContain(
        `published ${FILES + 1} files: ${FILES + 1 - there} objects sent, ${there} were there`,
      )
      expect(await manifest()).not.toBe(before)
      // Everything that either manifest names is there, whole.
      const keys = new Set(await s3.keys())
      for (const text of [before, await manifest()])
        for (const { key, size } of Object.values(
          (JSON.parse(text) as { assets: Record<string, { key: string; size: number }> }).assets,
        )) {
          expect(keys.has(key), key).toBe(true)
          expect((await s3.body(key)).length).toBe(size)
        }
      // A third run changes nothing.
      const last = await manifest()
      expect((await cli(proxy.url, 'publish', dir)).out).toContain(' 0 objects sent')
      expect(await manifest()).toBe(last)
    },
  )

  test('whose manifest can not be written leaves the release before in place', { timeout: 60_000 }, async () => {
    const proxy = await startProxy()
    await cli(proxy.url, 'publish', await site('old'), '--release', 'v1')
    const before = await manifest()
    const dir = await site('new')
    proxy.intercept = cutting((request) => /^PUT \S*manifest\S*json/.test(request))
    expect((await cli(proxy.url, 'publish', dir, '--release', 'v2')).code).toBe(1)
    expect(await manifest()).toBe(before)
    proxy.intercept = undefined
    expect((await cli(proxy.url, 'publish', dir, '--release', 'v2')).out).toContain(' 0 objects sent')
    expect(await manifest()).not.toBe(before)
  })

  test('of two at once leaves one manifest, whole', async () => {
    const dirs = [await site('one'), await site('two')]
    const runs = await Promise.all(dirs.map((dir) => cli(s3.server.endpoint, 'publish', dir)))
    expect(runs.map(({ code }) => code)).toEqual([0, 0])
    const { assets } = JSON.parse(await manifest()) as { assets: Record<string, { key: string }> }
    expect(Object.keys(assets)).toHaveLength(FILES + 1)
    const contents = await Promise.all(
      Object.values(assets).map(async ({ key }) => /one|two/.exec((await s3.body(key)).toString())?.[0]),
    )
    expect(new Set(contents).size).toBe(1)
  })
})

describe('a sweep', () => {
  const ID = (n: number): string => `0190b5a0-7e2c-7abc-8def-0123456789${String(n).padStart(2, '0')}`

  test('that S3 fails in the middle deletes nothing that is referenced, and is finished by the next', {
    timeout: 60_000,
  }, async () => {
    const [kept, lost] = [Array.from({ length: 6 }, (_, n) => n), Array.from({ length: 12 }, (_, n) => n + 20)]
    const key = (n: number): string => `photos/${ID(n)}.png`
    for (const n of [...kept, ...lost])
      await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key(n), Body: 'x' }))
    const proxy = await startProxy()
    const engine = createStorage(resolveOptions(s3.options({ endpoint: proxy.url, requestTimeout: 1_000 })), {
      warn() {},
      error() {},
    })
    s3.later(() => engine.destroy())
    const referenced = new Set(kept.map((n) => `${CDN}/${key(n)}`))
    // S3 does not let anybody choose how old an object is: the clock is ahead.
    const run = (): Promise<SweepResult> =>
      engine.forCaller('sweep', () =>
        sweep(
          { ...engine.deps, now: () => Date.now() + 25 * 3_600_000 },
          { findReferenced: (urls) => urls.filter((url) => referenced.has(url)), dryRun: false },
        ),
      )
    const deleted = new Set<string>()
    proxy.intercept = cutting((request) => {
      const [, path] = /^DELETE (\S+?)\?/.exec(request) ?? []
      if (path) deleted.add(path)
      return deleted.size > 5
    })
    await expect(run()).rejects.toMatchObject({ code: 'SCALE_STORAGE_UNAVAILABLE' })
    const left = await s3.keys()
    expect(left.length).toBe(kept.length + lost.length - 5)
    for (const n of kept) expect(left).toContain(key(n))
    proxy.intercept = undefined
    expect(await run()).toMatchObject({ deleted: lost.length - 5, stopped: false })
    expect((await s3.keys()).sort()).toEqual(kept.map(key).sort())
    expect(await run()).toMatchObject({ checked: kept.length, deleted: 0 })
  })
})
