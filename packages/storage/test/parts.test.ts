import { PassThrough } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { createBufferPool } from '../src/buffers.ts'
import { isOwnKey, makeKey, parsePending, uuidv7 } from '../src/keys.ts'
import { createMeter, showBytes } from '../src/meter.ts'
import { type ScaleStorageOptions, resolveOptions } from '../src/options.ts'
import { createPatience } from '../src/patience.ts'
import { createReader, peek } from '../src/reader.ts'
import { createSlots } from '../src/slots.ts'
import { isActive, isAllowed, sniff } from '../src/sniff.ts'
import { createUrls } from '../src/urls.ts'
import { rewriteCss } from '../src/assets/css.ts'
import { PDF, png } from './helpers.ts'

const ID = '0190b5a0-7e2c-7abc-8def-0123456789ab'

describe('keys', () => {
  test('are version 7 UUIDs that sort by time', () => {
    const random = new Uint8Array(16).fill(0xff)
    const id = uuidv7(0x0190b5a07e2c, random)
    expect(id).toBe('0190b5a0-7e2c-7fff-bfff-ffffffffffff')
    expect(uuidv7(0x0190b5a07e2d, new Uint8Array(16)) > id).toBe(true)
  })

  test('are recognised, and nothing else is', () => {
    const common = { now: Date.now(), random: new Uint8Array(16) }
    for (const key of [
      makeKey({ prefix: '', ext: '', ...common }),
      makeKey({ prefix: 'a/b-c/d.e', ext: 'png', private: true, ...common }),
      makeKey({
        prefix: 'a',
        ext: 'mp4',
        private: true,
        pending: { bytes: 5 * 1_024 ** 3 * 10_000, exact: true },
        ...common,
      }),
    ])
      expect(isOwnKey(key)).toBe(true)
    for (const key of [
      '',
      'x.png',
      `../${ID}.png`,
      `a/../${ID}`,
      `a//${ID}`,
      `/${ID}`,
      `a/${ID}.png/`,
      `a/${ID}.PNG`,
      `a/${ID}\n`,
      `${ID.replace('-7abc', '-4abc')}.png`,
      `.hidden/${ID}`,
      `${'a'.repeat(1_000)}/${ID}`,
      'assets/manifest.json',
    ])
      expect(isOwnKey(key), key).toBe(false)
    expect(parsePending(`pending/private/a/b/${ID}`)).toEqual({ prefix: 'a/b', private: true })
    expect(parsePending(`pending/${ID}`)).toEqual({ prefix: '', private: false })
    expect(parsePending(`pending/${ID}.png`)).toEqual({ prefix: '', private: false })
    expect(parsePending(`a/${ID}`)).toBeUndefined()
    for (const bound of [
      { bytes: 0, exact: true },
      { bytes: 25 * 1_024 ** 2, exact: false },
      // 10,000 parts of 5 GB.
      { bytes: 5 * 1_024 ** 3 * 10_000, exact: false },
    ])
      expect(parsePending(makeKey({ prefix: 'a/b.c', ext: '', pending: bound, ...common }))).toEqual({
        prefix: 'a/b.c',
        private: false,
        bound,
      })
  })
})

describe('URLs', () => {
  const { url, keyOf } = createUrls('https://cdn.example.com/files')

  test('are built from the base alone, and read back', () => {
    expect(url(`a/${ID}.png`)).toBe(`https://cdn.example.com/files/a/${ID}.png`)
    expect(keyOf(url(`a/${ID}.png`))).toBe(`a/${ID}.png`)
    expect(keyOf(`a/${ID}.png`)).toBe(`a/${ID}.png`)
  })

  test.each([
    `https://evil.example/files/a/${ID}.png`,
    `https://cdn.example.com.evil.example/files/a/${ID}.png`,
    `http://cdn.example.com/files/a/${ID}.png`,
    `https://cdn.example.com:444/files/a/${ID}.png`,
    `https://user@cdn.example.com/files/a/${ID}.png`,
    `https://cdn.example.com/other/a/${ID}.png`,
    `https://cdn.example.com/files/../a/${ID}.png`,
    `https://cdn.example.com/files/%2e%2e/a/${ID}.png`,
    `https://cdn.example.com/files/a%2f..%2f..%2f${ID}.png`,
    `https://cdn.example.com/files/a/${ID}.png?versionId=1`,
    `https://cdn.example.com/files/a/${ID}.png#x`,
    'https://cdn.example.com/files/%E0%A4%A',
    'javascript:alert(1)',
    `//cdn.example.com/files/a/${ID}.png`,
    `s3://bucket/a/${ID}.png`,
    '',
  ])('%s is not one of ours', (text) => {
    expect(() => keyOf(text)).toThrow(expect.objectContaining({ code: 'SCALE_STORAGE_FOREIGN_URL', statusCode: 400 }))
  })
})

describe('types', () => {
  test.each<[string, Buffer, string | undefined, string, string]>([
    ['PNG', png(500), 'text/html', 'image/png', 'png'],
    ['PNG, the first bytes only', png(40), undefined, 'image/png', 'png'],
    ['PDF', PDF, 'image/png', 'application/pdf', 'pdf'],
    ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'image/png', 'image/svg+xml', 'svg'],
    ['SVG behind XML', Buffer.from('<?xml version="1.0"?>\n<!-- x -->\n<svg/>'), undefined, 'image/svg+xml', 'svg'],
    [
      'SVG with a prefix',
      Buffer.from('<s:svg xmlns:s="http://www.w3.org/2000/svg"/>'),
      undefined,
      'image/svg+xml',
      'svg',
    ],
    ['HTML', Buffer.from('\uFEFF \n<!-- --><!DOCTYPE HTML><p>'), 'text/plain', 'text/html', 'html'],
    ['a script', Buffer.from('  <SCRIPT>alert(1)</SCRIPT>'), 'text/csv', 'text/html', 'html'],
    [
      'XHTML',
      Buffer.from('<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>'),
      undefined,
      'text/html',
      'html',
    ],
    ['XML', Buffer.from('<?xml version="1.0"?><rss/>'), undefined, 'application/xml', 'xml'],
    ['CSV', Buffer.from('a,b\n1,<b>2</b>\n'), 'text/csv; charset=utf-8', 'text/csv', 'csv'],
    ['JSON', Buffer.from('{"a":"ä"}'), 'application/json', 'application/json', 'json'],
    ['text said to be a page', Buffer.from('hello'), 'text/html', 'text/plain', 'txt'],
    ['text said to be a script', Buffer.from('alert(1)'), 'text/javascript', 'text/plain', 'txt'],
    ['text cut in a character', Buffer.from('ä').subarray(0, 1), undefined, 'text/plain', 'txt'],
    ['bytes', Buffer.from([0, 1, 2, 3, 255]), 'text/html', 'application/octet-stream', 'bin'],
    ['Latin-1', Buffer.from([0xe4, 0x20, 0xf6]), 'text/plain', 'application/octet-stream', 'bin'],
    ['nothing', Buffer.alloc(0), 'image/png', 'application/octet-stream', 'bin'],
  ])('%s', async (_what, head, declared, contentType, ext) => {
    expect(await sniff(head, declared)).toEqual({ contentType, ext })
  })

  test('of pages are never served as pages', () => {
    expect(['text/html', 'image/svg+xml', 'application/xml'].every(isActive)).toBe(true)
    expect(['image/png', 'text/plain', 'application/pdf'].some(isActive)).toBe(false)
  })

  test('are allowed by name or kind; SVG only by name', () => {
    expect(isAllowed('image/png', ['image/*'])).toBe(true)
    expect(isAllowed('image/svg+xml', ['image/*'])).toBe(false)
    expect(isAllowed('image/svg+xml', ['image/*', 'image/svg+xml'])).toBe(true)
    expect(isAllowed('imagex/png', ['image/*'])).toBe(false)
    expect(isAllowed('text/html', ['*'])).toBe(true)
    expect(isAllowed('text/html', [])).toBe(false)
  })

  test('random bytes never throw', async () => {
    for (let run = 0; run < 300; run++) {
      const head = png(4_100).subarray(run % 60)
      head[run % head.length] = run % 256
      expect(await sniff(head)).toEqual({ contentType: expect.any(String), ext: expect.any(String) })
    }
  })
})

describe('the meter', () => {
  test('stops at the limit and not before', () => {
    const meter = createMeter(10)
    meter.add(Buffer.alloc(10))
    expect(() => meter.add(Buffer.alloc(1))).toThrow('the file is larger than 10 bytes')
    expect(showBytes(25 * 1_024 ** 2)).toBe('25 MB')
    expect(showBytes(1_500)).toBe('1.5 KB')
  })
})

describe('patience', () => {
  test('counts only the time waited for the client, and is paid back in bytes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const patience = createPatience({ idleTimeout: 1_000, minRate: 1_000, signal: new AbortController().signal })
      const wait = async (ms: number): Promise<void> => {
        let done: (() => void) | undefined
        const waiting = patience.wait(new Promise<void>((resolve) => (done = resolve)))
        await vi.advanceTimersByTimeAsync(ms)
        done?.()
        await waiting
      }
      await wait(900)
      // S3's time, not the client's.
      await vi.advanceTimersByTimeAsync(60_000)
      patience.sent(500)
      await wait(500)
      // 900 - 500 + 500 of 1,000 ms are used up.
      let failure: unknown
      patience.wait(new Promise(() => {})).catch((error: unknown) => (failure = error))
      await vi.advanceTimersByTimeAsync(95)
      expect(failure).toBeUndefined()
      await vi.advanceTimersByTimeAsync(10)
      expect(failure).toMatchObject({ code: 'SCALE_STORAGE_CLIENT_TIMEOUT' })
      patience.stop()
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  test('ends with the signal, with its reason', async () => {
    const stop = new AbortController()
    const patience = createPatience({ idleTimeout: 60_000, minRate: 0, signal: stop.signal })
    const waiting = patience.wait(new Promise(() => {}))
    stop.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await expect(patience.wait(new Promise(() => {}))).rejects.toThrow('gone')
  })
})

describe('the reader', () => {
  const patience = (idleTimeout = 60_000): ReturnType<typeof createPatience> =>
    createPatience({ idleTimeout, minRate: 0, signal: new AbortController().signal })

  test('gives back every byte, whatever was looked at before', async () => {
    for (let run = 0; run < 50; run++) {
      const stream = new PassThrough({ highWaterMark: 1 + (run % 7) * 100 })
      const data = png(5_000)
      const { head, next } = await (async () => {
        const peeking = peek(createReader(stream, patience()).next, run * 100)
        for (let at = 0; at < data.length; at += 1 + run * 37) stream.write(data.subarray(at, at + 1 + run * 37))
        stream.end()
        return peeking
      })()
      expect(head).toEqual(data.subarray(0, run * 100))
      const chunks: Buffer[] = []
      for (let chunk = await next(); chunk !== null; chunk = await next()) chunks.push(chunk)
      expect(Buffer.concat(chunks)).toEqual(data)
    }
  })

  test('reports the error of the stream, and its end before the end, and stays so', async () => {
    for (const end of [(s: PassThrough) => s.destroy(new Error('broken')), (s: PassThrough) => s.destroy()]) {
      const stream = new PassThrough()
      const { next } = createReader(stream, patience())
      stream.write('a')
      expect(String(await next())).toBe('a')
      const waiting = next()
      end(stream)
      await expect(waiting).rejects.toThrow(/broken|closed before its end/)
      await expect(next()).rejects.toThrow(/broken|closed before its end/)
    }
  })
})

describe('slots', () => {
  test('are given in order, given back once, and not lost by who gives up waiting', async () => {
    const slots = createSlots(1, 60_000)
    const none = new AbortController().signal
    const first = await slots.take(none)
    const stop = new AbortController()
    const leaver = slots.take(stop.signal)
    const second = slots.take(none)
    const third = slots.take(none)
    expect(slots).toMatchObject({ active: 1, waiting: 3 })
    stop.abort(new Error('gone'))
    await expect(leaver).rejects.toThrow('gone')
    first()
    first()
    const releaseSecond = await second
    expect(slots).toMatchObject({ active: 1, waiting: 1 })
    releaseSecond()
    ;(await third)()
    expect(slots).toMatchObject({ active: 0, waiting: 0 })
  })
})

describe('part buffers', () => {
  test('are never more than the maximum, are used again, and waited for', async () => {
    const pool = createBufferPool(10, 2, 60_000)
    const none = new AbortController().signal
    expect(pool.roomy).toBe(true)
    const first = await pool.take(none)
    await pool.take(none)
    expect(pool.roomy).toBe(false)
    const stop = new AbortController()
    const leaver = pool.take(stop.signal)
    const third = pool.take(none)
    const fourth = pool.take(none)
    stop.abort(new Error('gone'))
    await expect(leaver).rejects.toThrow('gone')
    pool.give(first)
    expect(await third).toBe(first)
    pool.drop()
    expect(await fourth).not.toBe(first)
  })

  test('stay for the next upload, and go when nobody needed them for a while', async () => {
    vi.useFakeTimers()
    try {
      const pool = createBufferPool(10, 8, 1_000)
      const none = new AbortController().signal
      const taken = await Promise.all([pool.take(none), pool.take(none), pool.take(none)])
      for (const buffer of taken) pool.give(buffer)
      expect(pool.unused).toBe(3)
      vi.advanceTimersByTime(1_000)
      expect(pool.unused).toBe(3)
      // One is needed again and again, two were for a moment only.
      for (let i = 0; i < 3; i++) {
        const buffer = await pool.take(none)
        expect(taken).toContain(buffer)
        pool.give(buffer)
        vi.advanceTimersByTime(1_000)
      }
      expect(pool.unused).toBe(1)
      vi.advanceTimersByTime(1_000)
      expect(pool.unused).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
      const late = await pool.take(none)
      pool.give(await pool.take(none))
      pool.close()
      pool.give(late)
      expect(pool.unused).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('options', () => {
  const good: ScaleStorageOptions = { bucket: 'b-1', publicBaseUrl: 'https://cdn.example.com/' }

  test('have defaults, and are not changed', () => {
    const options = Object.freeze({ ...good, allowedTypes: Object.freeze(['image/*']) })
    expect(resolveOptions(options)).toMatchObject({
      publicBaseUrl: 'https://cdn.example.com',
      region: 'us-east-1',
      forcePathStyle: false,
      maxConcurrentUploads: 16,
      defaults: { maxBytes: 25 * 1_024 ** 2, idleTimeout: 30_000, prefix: 'uploads', visibility: 'public' },
    })
    expect(resolveOptions({ ...good, endpoint: 'http://127.0.0.1:9000' }).forcePathStyle).toBe(true)
  })

  test.each<[string, object]>([
    ['no bucket', { bucket: undefined }],
    ['a bucket that is a path', { bucket: 'a/b' }],
    ['no publicBaseUrl', { publicBaseUrl: undefined }],
    ['a relative publicBaseUrl', { publicBaseUrl: '/files' }],
    ['a publicBaseUrl with a query', { publicBaseUrl: 'https://x.example/?a' }],
    ['an endpoint with credentials', { endpoint: 'http://key:secret@x.example' }],
    ['half of the credentials', { credentials: { accessKeyId: 'AKID-SHOWN-NOWHERE' } }],
    ['a misspelt option', { maxByte: 1 }],
    ['0 slots', { maxConcurrentUploads: 0 }],
    ['parts that S3 refuses', { partSize: '1MB' }],
    ['more than 10,000 parts', { maxBytes: '1TB' }],
    ['a prefix with dots', { prefix: '../x' }],
    ['a prefix with slashes at the ends', { prefix: '/x/' }],
    ['a prefix that is ours', { prefix: 'pending' }],
    ['types that are extensions', { allowedTypes: ['.png'] }],
    ['a visibility that is none', { visibility: 'hidden' }],
    ['a duration that is none', { idleTimeout: 'soon' }],
    ['acl as text', { acl: 'public-read' }],
  ])('%s is refused', (_what, options) => {
    const resolve = (): unknown => resolveOptions({ ...good, ...options } as ScaleStorageOptions)
    expect(resolve).toThrow(expect.objectContaining({ code: 'SCALE_STORAGE_OPTION' }))
    expect(resolve).not.toThrow(/SHOWN-NOWHERE|secret@/)
  })
})

describe('references in style sheets', () => {
  test('follow the new names; what is not ours stays', () => {
    const names: Record<string, string> = { 'img/a.png': 'img/a.1.png', 'css/b.css': 'css/b.2.css' }
    const css = `@import 'b.css'; a{background:url( "../img/a.png" )} b{src:url(/img/a.png)} c{src:url(data:x)} d{src:url(../img/no.png)}`
    expect(rewriteCss('css/x.css', css, (file) => names[file]).css).toBe(
      `@import 'b.2.css'; a{background:url( "../img/a.1.png" )} b{src:url(/img/a.png)} c{src:url(data:x)} d{src:url(../img/no.png)}`,
    )
  })
})
