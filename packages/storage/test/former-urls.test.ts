import { PutObjectCommand } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import type { ScaleStorageOptions, SweepOptions, SweepResult } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { createStorage } from '../src/storage.ts'
import { sweep } from '../src/sweep.ts'
import { createUrls } from '../src/urls.ts'
import { CDN, useS3 } from './helpers.ts'

const s3 = useS3()
const NEW = 'https://new.example.test'
const moved = { publicBaseUrl: NEW, formerBaseUrls: [`${CDN}/`, 'https://first.example.test'] }
const key = (n: number): string => `photos/0190b5a0-7e2c-7abc-8def-${String(n).padStart(12, '0')}.png`

/** S3 does not let anybody choose how old an object is: the clock is ahead. */
function sweepLater(options: SweepOptions, overrides: Partial<ScaleStorageOptions> = moved): Promise<SweepResult> {
  const engine = createStorage(resolveOptions(s3.options(overrides)), { warn() {}, error() {} })
  s3.later(() => engine.destroy())
  return sweep({ ...engine.deps, now: () => Date.now() + 25 * 3_600_000 }, options)
}

async function put(...numbers: number[]): Promise<void> {
  for (const n of numbers)
    await s3.s3.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key(n), Body: `photo ${n}` }))
}

describe('after publicBaseUrl has changed, URLs from before', () => {
  const saved = [`${NEW}/${key(1)}`, `${CDN}/${key(2)}`, `https://first.example.test/${key(3)}`]

  test.each<[string, SweepOptions]>([
    ['at once', { findReferenced: (urls) => saved.filter((url) => urls.includes(url)) }],
    ['one by one', { isReferenced: ({ url }) => saved.includes(url) }],
  ])('keep their objects from a sweep that asks %s', async (_how, lookup) => {
    await put(1, 2, 3, 4)
    const result = await sweepLater({ ...lookup, dryRun: false })
    expect(result).toMatchObject({ checked: 4, deleted: 1, orphans: [{ key: key(4), url: `${NEW}/${key(4)}` }] })
    expect(await s3.keys()).toEqual([1, 2, 3].map(key))
  })

  test('are asked for with the others, 1,000 at most in one call', async () => {
    await put(1, 2, 3)
    const calls: string[][] = []
    const formerBaseUrls = Array.from({ length: 349 }, (_, n) => `https://${n}.example.test`)
    await sweepLater({ findReferenced: (urls) => (calls.push(urls), urls) }, { formerBaseUrls })
    expect(calls.map(({ length }) => length)).toEqual([1_000, 50])
    expect(new Set(calls.flat()).size).toBe(1_050)
  })

  test('can be deleted and signed', async () => {
    await put(2, 3)
    const app = await s3.app(moved)
    const signed = await app.storage.signedUrl(`${CDN}/${key(2)}`)
    expect(await (await fetch(signed)).text()).toBe('photo 2')
    await app.storage.delete(`https://first.example.test/${key(3)}`)
    expect(await s3.keys()).toEqual([key(2)])
    await expect(app.storage.delete(`https://other.example.test/${key(2)}`)).rejects.toMatchObject({
      code: 'SCALE_STORAGE_FOREIGN_URL',
    })
  })

  test.each([
    ['https://cdn.example.test', 'https://cdn.example.test/files'],
    ['https://cdn.example.test/files', 'https://cdn.example.test'],
  ])('are told from new ones where one base is within the other: %s after %s', (base, former) => {
    const { keyOf } = createUrls(base, [former])
    expect(keyOf(`${base}/${key(1)}`)).toBe(key(1))
    expect(keyOf(`${former}/${key(1)}`)).toBe(key(1))
  })

  test.each([['https://a.example'], [['cdn.example.com']], [[7]], [['https://a.example?x']]])(
    'formerBaseUrls %j is refused',
    (formerBaseUrls) => {
      expect(() => resolveOptions(s3.options({ formerBaseUrls: formerBaseUrls as never }))).toThrow(
        expect.objectContaining({ code: 'SCALE_STORAGE_OPTION', message: expect.stringContaining('formerBaseUrls') }),
      )
    },
  )
})
