import { type IncomingMessage, type Server, type ServerResponse, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import replyFrom from '@fastify/reply-from'
import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { appWith, uniquePrefix } from './support.ts'

// RFC 9111 in front of a real proxy to a real origin. Staleness is told by Age, so that nothing has to wait.

type Headers = Record<string, string | string[]>

interface Step {
  /** The client's request. */
  method?: string
  ask?: Record<string, string>
  path?: string
  /** What the origin answers, should it be asked. */
  status?: number
  answer?: Headers
  body?: string
  /** The origin answers 304 where its ETag or Last-Modified is asked for. */
  validates?: boolean
  /** What must happen. */
  expect: 'hit' | 'origin' | 'validated'
  code?: number
  text?: string
  has?: Record<string, string>
  hasNot?: string[]
}

let redis: RedisServer
let origin: Server
let app: FastifyInstance
let base: string
let now: Step
let asked: { count: number; headers: IncomingMessage['headers'] }

const date = (seconds: number): string => new Date(Date.now() + seconds * 1_000).toUTCString()

beforeAll(async () => {
  redis = await startRedis()
  origin = createServer((incoming: IncomingMessage, response: ServerResponse) => {
    asked.count++
    asked.headers = incoming.headers
    for (const [name, value] of Object.entries(now.answer ?? {})) response.setHeader(name, value)
    const conditional = incoming.headers['if-none-match'] ?? incoming.headers['if-modified-since']
    response.statusCode = now.validates && conditional !== undefined ? 304 : (now.status ?? 200)
    response.end(response.statusCode === 304 || response.statusCode === 204 ? undefined : (now.body ?? 'body'))
  })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  app = await appWith({ redis: redis.url, prefix: uniquePrefix() }, (instance) => {
    void instance.register(replyFrom, {
      base: `http://127.0.0.1:${(origin.address() as AddressInfo).port}`,
      disableRequestLogging: true,
    })
    instance.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    instance.route({
      method: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'],
      url: '/*',
      config: { cache: {} },
      handler: (request, reply) => reply.from(request.url),
    })
  })
  base = await app.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(async () => {
  await app.close()
  await new Promise((resolve) => origin.close(resolve))
  await redis.stop()
})

/** Plain http: fetch would add `Cache-Control: no-cache` to conditional requests. */
function send(
  url: string,
  step: Step,
): Promise<{ response: { status: number; headers: globalThis.Headers }; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: step.method ?? 'GET', headers: step.ask }, (incoming) => {
      const headers = new globalThis.Headers()
      for (const [name, value] of Object.entries(incoming.headers)) headers.set(name, String(value))
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk: string) => (text += chunk))
      incoming.on('end', () => resolve({ response: { status: incoming.statusCode ?? 0, headers }, text }))
      incoming.on('error', reject)
    })
    sent.on('error', reject)
    sent.end()
  })
}

let paths = 0

async function run(steps: Step[]): Promise<void> {
  const path = `/c${++paths}`
  for (const [i, step] of steps.entries()) {
    now = step
    asked = { count: 0, headers: {} }
    const { response, text } = await send(`${base}${path}${step.path ?? ''}`, step)
    const status = response.headers.get('cache-status') ?? ''
    const seen = asked.count === 0 ? 'hit' : status.includes('fwd-status=304') ? 'validated' : 'origin'
    expect({ step: i, seen, status }).toEqual({ step: i, seen: step.expect, status })
    expect({ step: i, code: response.status }).toEqual({
      step: i,
      code: step.code ?? (step.expect === 'origin' ? (step.status ?? 200) : response.status),
    })
    if (step.text !== undefined) expect(text).toBe(step.text)
    for (const [name, value] of Object.entries(step.has ?? {})) expect(response.headers.get(name)).toBe(value)
    for (const name of step.hasNot ?? []) expect(response.headers.get(name)).toBeNull()
    if (step.expect === 'hit' && (step.code ?? 200) < 400) expect(response.headers.get('age')).toMatch(/^\d+$/)
  }
}

const once = (answer: Headers, then: Step['expect'], more: Partial<Step> = {}): Step[] => [
  { answer, expect: 'origin', ...more },
  { expect: then, ...(then === 'hit' ? { code: more.status ?? 200 } : {}) },
]

describe('freshness', () => {
  test.each<[string, Headers, Step['expect']]>([
    ['max-age', { 'cache-control': 'max-age=60' }, 'hit'],
    ['max-age=0', { 'cache-control': 'max-age=0' }, 'origin'],
    ['any case', { 'cache-control': 'MaX-AgE=60' }, 'hit'],
    ['extensions passed over', { 'cache-control': 'what, ever=1, max-age=60' }, 'hit'],
    ['beyond 31 bits', { 'cache-control': 'max-age=99999999999' }, 'hit'],
    ['leading zeros', { 'cache-control': 'max-age=0060' }, 'hit'],
    ['quoted', { 'cache-control': 'max-age="60"' }, 'hit'],
    ['negative', { 'cache-control': 'max-age=-60' }, 'origin'],
    ['single quotes', { 'cache-control': "max-age='60'" }, 'origin'],
    ['letters', { 'cache-control': 'max-age=60s' }, 'origin'],
    ['decimals', { 'cache-control': 'max-age=60.5' }, 'origin'],
    ['inside a quoted extension', { 'cache-control': 'x="max-age=60", max-age=0' }, 'origin'],
    ['inside a quoted extension, after', { 'cache-control': 'max-age=0, x="max-age=60"' }, 'origin'],
    ['the first of two counts', { 'cache-control': 'max-age=60, max-age=0' }, 'hit'],
    ['the first of two lines counts', { 'cache-control': ['max-age=0', 'max-age=60'] }, 'origin'],
    ['s-maxage over max-age', { 'cache-control': 'max-age=0, s-maxage=60' }, 'hit'],
    ['short s-maxage over long max-age', { 'cache-control': 's-maxage=0, max-age=60' }, 'origin'],
    ['Expires', { expires: date(60), date: date(0) }, 'hit'],
    ['Expires in the past', { expires: date(-60), date: date(0) }, 'origin'],
    ['Expires: 0', { expires: '0' }, 'origin'],
    ['Expires in another zone', { expires: 'Thu, 18 Aug 2050 02:01:18 AEST' }, 'origin'],
    ['Expires without its comma', { expires: 'Thu 18 Aug 2050 02:01:18 GMT' }, 'origin'],
    ['Expires by RFC 850', { expires: 'Thursday, 18-Aug-50 02:01:18 GMT' }, 'hit'],
    ['Expires by asctime', { expires: 'Thu Aug  8 02:01:18 2050' }, 'hit'],
    ['two lines of Expires', { expires: [date(60), date(61)] }, 'origin'],
    ['max-age over Expires', { expires: date(-60), 'cache-control': 'max-age=60' }, 'hit'],
    ['max-age=0 over Expires', { expires: date(60), 'cache-control': 'max-age=0' }, 'origin'],
    ['Age beyond the lifetime', { 'cache-control': 'max-age=60', age: '61' }, 'origin'],
    ['Age within the lifetime', { 'cache-control': 'max-age=60', age: '30' }, 'hit'],
    ['Age that is no number is ignored', { 'cache-control': 'max-age=60', age: 'old' }, 'hit'],
    ['the first of two Ages counts', { 'cache-control': 'max-age=60', age: '7200, 0' }, 'origin'],
    ['an old Date is an age', { 'cache-control': 'max-age=60', date: date(-120) }, 'origin'],
    ['the heuristic, by Last-Modified', { 'last-modified': date(-86_400), date: date(0) }, 'hit'],
    ['nothing said', {}, 'origin'],
    ['CDN-Cache-Control over Cache-Control', { 'cdn-cache-control': 'max-age=60', 'cache-control': 'no-store' }, 'hit'],
    ['CDN-Cache-Control that forbids', { 'cdn-cache-control': 'no-store', 'cache-control': 'max-age=60' }, 'origin'],
    [
      'broken CDN-Cache-Control is ignored',
      { 'cdn-cache-control': 'max-age=60, &&&', 'cache-control': 'no-store' },
      'origin',
    ],
    [
      'CDN-Cache-Control of the wrong type',
      { 'cdn-cache-control': 'max-age="60"', 'cache-control': 'no-store' },
      'origin',
    ],
  ])('%s', (_, answer, then) => run(once(answer, then)))
})

describe('what may be stored', () => {
  test.each<[string, Headers, Step['expect']]>([
    ['no-store', { 'cache-control': 'max-age=60, No-Store' }, 'origin'],
    ['private', { 'cache-control': 'max-age=60, private' }, 'origin'],
    ['no-cache', { 'cache-control': 'max-age=60, no-cache' }, 'origin'],
    ['must-revalidate while fresh', { 'cache-control': 'max-age=60, must-revalidate' }, 'hit'],
    ['proxy-revalidate while fresh', { 'cache-control': 'max-age=60, proxy-revalidate' }, 'hit'],
    ['no-store with must-understand', { 'cache-control': 'max-age=60, no-store, must-understand' }, 'hit'],
    ['Vary: *', { 'cache-control': 'max-age=60', vary: 'foo, *' }, 'origin'],
    ['Set-Cookie', { 'cache-control': 'max-age=60', 'set-cookie': 'a=b' }, 'origin'],
    ['Set-Cookie and public', { 'cache-control': 'max-age=60, public', 'set-cookie': 'a=b' }, 'hit'],
  ])('%s', (_, answer, then) => run(once(answer, then)))

  test.each([203, 299, 301, 302, 307, 308, 400, 404, 410, 499, 500, 599])(
    'status %i with a lifetime of its own',
    (status) => run(once({ 'cache-control': 'max-age=60', location: '/x' }, 'hit', { status })),
  )
  test.each([201, 202, 403, 502, 504, 599])('status %i without', (status) =>
    run(once({ 'last-modified': date(-86_400), date: date(0) }, 'origin', { status })),
  )
  test('an unknown status with must-understand', () =>
    run(once({ 'cache-control': 'max-age=60, must-understand' }, 'origin', { status: 599 })))

  test('fields that Connection names, and those of one connection, are not stored', () =>
    run([
      {
        answer: {
          'cache-control': 'max-age=60',
          connection: 'a, b',
          a: '1',
          b: '2',
          c: '3',
          'proxy-authenticate': 'x',
          te: 'x',
        },
        expect: 'origin',
      },
      { expect: 'hit', has: { c: '3' }, hasNot: ['a', 'b', 'proxy-authenticate', 'te'] },
    ]))
  test('fields that no-cache and private name are not stored', () =>
    run([
      {
        answer: { 'cache-control': 'max-age=60, no-cache="a, b", private="d"', a: '1', b: '2', c: '3', d: '4' },
        expect: 'origin',
      },
      { expect: 'hit', has: { c: '3' }, hasNot: ['a', 'b', 'd'] },
    ]))
  test('Date stays, Age grows from what it was', async () => {
    const stamp = date(-30)
    await run([
      { answer: { 'cache-control': 'max-age=600', date: stamp, age: '40' }, expect: 'origin' },
      { expect: 'hit', has: { date: stamp, age: '40' } },
    ])
  })
  test('the query is part of the URL', () =>
    run([
      { path: '?a=1', answer: { 'cache-control': 'max-age=60' }, body: 'one', expect: 'origin' },
      { path: '?a=2', answer: { 'cache-control': 'max-age=60' }, body: 'two', expect: 'origin' },
      { path: '?a=1', expect: 'hit', text: 'one' },
    ]))
})

describe('authorization', () => {
  test.each<[string, Step['expect']]>([
    ['max-age=60', 'origin'],
    ['max-age=60, public', 'hit'],
    ['max-age=60, must-revalidate', 'hit'],
    ['s-maxage=60', 'hit'],
  ])('%s', (control, then) =>
    run([{ ask: { authorization: 'x' }, answer: { 'cache-control': control }, expect: 'origin' }, { expect: then }]),
  )
  test('a cookie does not keep from what anybody may have', () =>
    run([
      { answer: { 'cache-control': 'max-age=60' }, expect: 'origin' },
      { ask: { cookie: 'a=b' }, expect: 'hit' },
    ]))
})

describe('vary', () => {
  const varied = (vary: string, body = 'body'): Partial<Step> => ({
    answer: { 'cache-control': 'max-age=60', vary },
    body,
  })
  test('same, other, missing and again', () =>
    run([
      { ask: { foo: '1' }, ...varied('Foo', 'one'), expect: 'origin' },
      { ask: { foo: '2' }, ...varied('Foo', 'two'), expect: 'origin' },
      { ...varied('Foo', 'none'), expect: 'origin' },
      { ask: { foo: '1' }, expect: 'hit', text: 'one' },
      { ask: { foo: '2' }, expect: 'hit', text: 'two' },
      { expect: 'hit', text: 'none' },
      { ask: { foo: '1', other: '2' }, expect: 'hit', text: 'one' },
    ]))
  test('several headers', () =>
    run([
      { ask: { foo: '1', baz: '3' }, ...varied('Foo, Bar, Baz'), expect: 'origin' },
      { ask: { baz: '3', foo: '1' }, expect: 'hit' },
      { ask: { foo: '1', bar: '2', baz: '3' }, expect: 'origin' },
      { ask: { foo: '1' }, expect: 'origin' },
    ]))
  test('white space, and for languages case and order, make no difference', () =>
    run([
      { ask: { foo: '1,2', 'accept-language': 'en, de' }, ...varied('Foo, Accept-Language'), expect: 'origin' },
      { ask: { foo: '1 ,  2', 'accept-language': 'DE,en' }, expect: 'hit' },
      { ask: { foo: '2,1', 'accept-language': 'en, de' }, expect: 'origin' },
    ]))
  test('names that change', async () => {
    await run([
      {
        ask: { foo: '1', bar: '1' },
        answer: { 'cache-control': 'max-age=0', vary: 'Foo', etag: '"a"' },
        expect: 'origin',
      },
      { ask: { foo: '2', bar: '1' }, ...varied('Bar', 'by bar'), expect: 'origin' },
    ])
    now = { answer: { 'cache-control': 'no-store' }, expect: 'origin' }
    const ask = (headers: Record<string, string>): ReturnType<typeof send> =>
      send(`${base}/c${paths}`, { ask: headers, expect: 'hit' })
    await waitFor(async () => (await ask({ foo: '3', bar: '1' })).text === 'by bar')
    expect((await ask({ foo: '3', bar: '2' })).text).toBe('body')
  })
})

describe('conditional requests', () => {
  const tagged = { answer: { 'cache-control': 'max-age=60', etag: '"abc"' }, expect: 'origin' as const }
  test.each([['"abc"'], ['W/"abc"'], ['"x", "abc"'], ['"abc","x"'], ['"x", "abc", "y"'], ['*']])(
    'If-None-Match: %s',
    (value) =>
      run([tagged, { ask: { 'if-none-match': value }, expect: 'hit', code: 304, text: '', has: { etag: '"abc"' } }]),
  )
  test('If-None-Match with another tag, whatever If-Modified-Since says', () =>
    run([
      { answer: { ...tagged.answer, 'last-modified': date(-100) }, expect: 'origin' },
      { ask: { 'if-none-match': '"x"', 'if-modified-since': date(0) }, expect: 'hit', code: 200 },
    ]))
  test('If-Modified-Since', () =>
    run([
      { answer: { 'cache-control': 'max-age=60', 'last-modified': date(-3_000) }, expect: 'origin' },
      { ask: { 'if-modified-since': date(-2_000) }, expect: 'hit', code: 304 },
      { ask: { 'if-modified-since': date(-4_000) }, expect: 'hit', code: 200 },
    ]))
  test('what is stale is validated, by the stored tag, and then fresh again with the new fields', async () => {
    await run([
      { answer: { 'cache-control': 'max-age=0', etag: '"abc"', a: '1', b: '1' }, body: 'kept', expect: 'origin' },
      {
        answer: { 'cache-control': 'max-age=60', etag: '"abc"', a: '2' },
        validates: true,
        expect: 'validated',
        code: 200,
        text: 'kept',
        has: { a: '2', b: '1' },
      },
      { expect: 'hit', text: 'kept', has: { a: '2', b: '1' } },
    ])
    expect(asked.count).toBe(0)
  })
  test('a client with the same tag gets its 304 after the validation', () =>
    run([
      { answer: { 'cache-control': 'max-age=0', etag: '"abc"' }, expect: 'origin' },
      { ask: { 'if-none-match': '"abc"' }, answer: { etag: '"abc"' }, validates: true, expect: 'validated', code: 304 },
    ]))
  test('no-cache is validated each time', () =>
    run([
      { answer: { 'cache-control': 'no-cache', 'last-modified': date(-100) }, expect: 'origin' },
      { answer: { 'cache-control': 'no-cache' }, validates: true, expect: 'validated', code: 200, text: 'body' },
      { answer: { 'cache-control': 'no-cache' }, validates: true, expect: 'validated', code: 200 },
    ]))
  test('an answer that is not a 304 takes the place of what was stored', () =>
    run([
      { answer: { 'cache-control': 'max-age=0', etag: '"abc"' }, body: 'old', expect: 'origin' },
      { answer: { 'cache-control': 'max-age=60', etag: '"def"' }, body: 'new', expect: 'origin', text: 'new' },
      { expect: 'hit', text: 'new', has: { etag: '"def"' } },
    ]))
})

describe('requests that say how', () => {
  const fresh = { answer: { 'cache-control': 'max-age=60', age: '20' }, expect: 'origin' as const }
  test.each<[string, Step['expect']]>([
    ['no-cache', 'origin'],
    ['max-age=0', 'origin'],
    ['max-age=10', 'origin'],
    ['max-age=50', 'hit'],
    ['min-fresh=50', 'origin'],
    ['min-fresh=10', 'hit'],
    ['no-store', 'origin'],
    ['only-if-cached', 'hit'],
  ])('%s', (control, then) => run([fresh, { ask: { 'cache-control': control }, expect: then }]))
  test('only-if-cached and nothing is: 504', () =>
    run([{ ask: { 'cache-control': 'only-if-cached' }, expect: 'hit', code: 504 }]))
  test('Pragma: no-cache', () => run([fresh, { ask: { pragma: 'no-cache' }, expect: 'origin' }]))
})

describe('ranges', () => {
  const whole = { answer: { 'cache-control': 'max-age=60', a: '1' }, body: '0123456789', expect: 'origin' as const }
  test.each([
    ['bytes=0-1', 206, '01', 'bytes 0-1/10'],
    ['bytes=8-', 206, '89', 'bytes 8-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=5-99', 206, '56789', 'bytes 5-9/10'],
    ['bytes=20-', 416, '', 'bytes */10'],
  ])('%s of a stored response', (range, code, text, told) =>
    run([whole, { ask: { range }, expect: 'hit', code, text, has: { 'content-range': told, a: '1' } }]),
  )
  test('one that is not understood gets the whole', () =>
    run([whole, { ask: { range: 'bytes=0-1,3-4' }, expect: 'hit', code: 200, text: '0123456789' }]))
  test('a partial answer is passed on and not stored', () =>
    run([
      {
        ask: { range: 'bytes=0-1' },
        status: 206,
        answer: { 'cache-control': 'max-age=60', 'content-range': 'bytes 0-1/10' },
        body: '01',
        expect: 'origin',
      },
      { expect: 'origin' },
    ]))
})

describe('invalidation', () => {
  const fresh = { answer: { 'cache-control': 'max-age=60' }, expect: 'origin' as const }
  test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('%s that succeeds, and one that fails', (method) =>
    run([
      fresh,
      { method, status: 500, expect: 'origin' },
      { expect: 'hit' },
      { method, expect: 'origin' },
      { expect: 'origin' },
    ]),
  )
  test.each(['location', 'content-location'])('the URL in %s', (name) =>
    run([
      { path: '/there', ...fresh },
      { path: '/there', expect: 'hit' },
      { path: '/here', method: 'POST', answer: { [name]: 'there' }, expect: 'origin' },
      { path: '/there', expect: 'origin' },
    ]),
  )
  test('not the URL of another host', () =>
    run([
      { path: '/there', ...fresh },
      { path: '/here', method: 'POST', answer: { location: 'http://elsewhere.example/there' }, expect: 'origin' },
      { path: '/there', expect: 'hit' },
    ]))
  test('every variant goes', () =>
    run([
      { ask: { foo: '1' }, answer: { 'cache-control': 'max-age=60', vary: 'foo' }, expect: 'origin' },
      { ask: { foo: '2' }, answer: { 'cache-control': 'max-age=60', vary: 'foo' }, expect: 'origin' },
      { method: 'POST', expect: 'origin' },
      { ask: { foo: '1' }, expect: 'origin' },
      { ask: { foo: '2' }, expect: 'origin' },
    ]))
})

test('HEAD is answered from a stored GET', () =>
  run([
    { answer: { 'cache-control': 'max-age=60', a: '1' }, expect: 'origin' },
    { method: 'HEAD', expect: 'hit', has: { a: '1', 'content-length': '4' }, text: '' },
  ]))

test("an origin's Cache-Status stays before ours", () =>
  run([
    {
      answer: { 'cache-control': 'max-age=60', 'cache-status': 'inner; hit' },
      expect: 'origin',
      has: { 'cache-status': 'inner; hit, fastify-scale; fwd=uri-miss; stored' },
    },
    { expect: 'hit' },
  ]))
