import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { checkServices, isAlive, startRedis, startServices, waitFor, type Services } from '../src/index.ts'
import { childrenOf } from '../src/proc.ts'
import { unavailable } from '../src/unavailable.ts'
import { runNode } from './run.ts'

let services: Services
const lines: string[] = []

beforeAll(async () => {
  services = await startServices({ env: {}, onProgress: (line) => lines.push(line) })
})

afterAll(() => services?.stop())

describe('startServices', () => {
  test('starts all three and says so; each of them passes the check', async () => {
    expect(Object.keys(services.env).toSorted()).toEqual([
      'DATABASE_URL',
      'REDIS_URL',
      'S3_ACCESS_KEY_ID',
      'S3_BUCKET',
      'S3_ENDPOINT',
      'S3_REGION',
      'S3_SECRET_ACCESS_KEY',
    ])
    await checkServices(services.env)
    for (const name of ['Redis', 'S3', 'PostgreSQL']) {
      expect(lines).toContainEqual(expect.stringMatching(`^${name}: ready after \\d+\\.\\d s$`))
    }
  })

  test('uses what the environment names, and does not end it', async () => {
    const before = childrenOf(process.pid).length
    const again = await startServices({ env: { ...services.env } })
    expect(again.env).toEqual(services.env)
    expect(childrenOf(process.pid)).toHaveLength(before)
    await again.stop()
    await checkServices(services.env)
  })

  test('starts only what is asked for', async () => {
    const some = await startServices({ s3: false, postgres: false, env: {} })
    onTestFinished(() => some.stop())
    expect(Object.keys(some.env)).toEqual(['REDIS_URL'])
    const client = new Redis(some.env.REDIS_URL)
    onTestFinished(() => client.disconnect())
    expect(await client.ping()).toBe('PONG')
  })

  test('leaves nothing running when a given service does not work', async () => {
    const before = new Set(childrenOf(process.pid))
    await expect(startServices({ env: { REDIS_URL: 'redis://127.0.0.1:1' } })).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_BAD_ENV',
    })
    await waitFor(() => childrenOf(process.pid).every((pid) => before.has(pid) || !isAlive(pid)))
  })
})

describe('checkServices', () => {
  const check = (change: Record<string, string>): Promise<string> =>
    checkServices({ ...services.env, ...change }, { timeout: 2_000 }).then(
      () => 'fine',
      (error) => {
        expect(error).toMatchObject({ code: 'SCALE_DEV_SERVICES_BAD_ENV' })
        return error.message
      },
    )

  test.each([
    ['REDIS_URL', 'localhost:6379', /^REDIS_URL must look like redis:\/\/127.0.0.1:6379, and is "localhost:6379"$/],
    ['REDIS_URL', 'redis://127.0.0.1:1', /^REDIS_URL .* does not work: 127.0.0.1:1: ECONNREFUSED$/],
    ['DATABASE_URL', 'mysql://x', /^DATABASE_URL must look like postgres:\/\//],
    [
      'DATABASE_URL',
      'postgres://u:secret@127.0.0.1:1/x',
      /^DATABASE_URL "postgres:\/\/u:\*\*\*@127.0.0.1:1\/x" does not work: .*ECONNREFUSED/,
    ],
    ['REDIS_URL', 'redis://:100%pure-secret@127.0.0.1:1', /^REDIS_URL "redis:\/\/:\*\*\*@127.0.0.1:1" .*%25/],
    ['REDIS_URL', 'redis://u:a/secret@127.0.0.1:1', /^REDIS_URL must look like .* "redis:\/\/u:\*\*\*@127.0.0.1:1"$/],
    ['REDIS_URL', 'u:a@secret@127.0.0.1:1', /^REDIS_URL must look like .* "u:\*\*\*@127.0.0.1:1"$/],
    [
      'DATABASE_URL',
      'postgres://u:100%ffsecret@127.0.0.1:1/x',
      /^DATABASE_URL "postgres:\/\/u:\*\*\*@127.0.0.1:1\/x" .*%25/,
    ],
    ['DATABASE_URL', 'postgres://u:a@secret@127.0.0.1:1/x', /^DATABASE_URL "postgres:\/\/u:\*\*\*@127.0.0.1:1\/x"/],
    ['DATABASE_URL', 'postgres://127.0.0.1:1/x?user=u&password=secret', /\?user=u&password=\*\*\*" does not work: /],
    ['DATABASE_URL', 'host=127.0.0.1 password=secret user=u', /and is "host=127.0.0.1 password=\*\*\* user=u"$/],
    [
      'DATABASE_URL',
      'postgres://u:p@127.0.0.1:1/x?sslrootcert=/nowhere',
      /^DATABASE_URL .* does not work: ENOENT.*nowhere/,
    ],
    ['S3_ENDPOINT', 'http://u:secret@127.0.0.1:1', /^S3_ENDPOINT "http:\/\/u:\*\*\*@127.0.0.1:1" does not work/],
    ['S3_ENDPOINT', 'nonsense', /^S3_ENDPOINT must look like http/],
    ['S3_ENDPOINT', 'http://127.0.0.1:1', /^S3_ENDPOINT .* does not work: 127.0.0.1:1: /],
    ['S3_BUCKET', 'not-there', /^S3_BUCKET "not-there" is not there on "http/],
    ['S3_SECRET_ACCESS_KEY', 'wrong', /^S3_ACCESS_KEY_ID .* with its S3_SECRET_ACCESS_KEY may not use/],
    ['S3_ACCESS_KEY_ID', '', /^S3_ACCESS_KEY_ID must be set too/],
  ])('%s=%s', async (name, value, expected) => {
    const message = await check({ [name]: value })
    expect(message).toMatch(expected)
    expect(message).not.toContain('\n')
    expect(message).not.toContain('secret')
  })

  test('wrong passwords and missing databases', async () => {
    const url = services.env.DATABASE_URL ?? ''
    expect(await check({ DATABASE_URL: url.replace(':postgres@', ':wrong@') })).toMatch(
      /password authentication failed/,
    )
    expect(await check({ DATABASE_URL: url.replace(/postgres$/, 'missing') })).toMatch(/"missing" does not exist/)
    const redis = await startRedis({ password: 'right' })
    onTestFinished(() => redis.stop())
    expect(await check({ REDIS_URL: redis.url })).toBe('fine')
    expect(await check({ REDIS_URL: redis.url.replace('right', 'wrong') })).toMatch(/^REDIS_URL .*WRONGPASS/)
    expect(await check({ REDIS_URL: redis.url.replace(':right@', '') })).toMatch(/^REDIS_URL .*NOAUTH/)
  })

  test('a service that hangs is given up in time', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    redis.freeze()
    const since = performance.now()
    await expect(checkServices({ REDIS_URL: redis.url }, { timeout: 300 })).rejects.toThrow(
      /^REDIS_URL .*no answer within 300 ms$/,
    )
    expect(performance.now() - since).toBeLessThan(1_500)
  })

  test('all that is wrong is told at once, a line each', async () => {
    const message = await check({ REDIS_URL: 'x', DATABASE_URL: 'y' })
    expect(message.split('\n').map((line) => line.split(' ')[0])).toEqual(['REDIS_URL', 'DATABASE_URL'])
  })
})

describe('where a server can not be had', () => {
  test('the error names the variable with an example, and the compose file', async () => {
    for (const what of ['redis', 's3'] as const) {
      const run = runNode('fixtures/start.mjs', [what], { PATH: '/nonexistent' })
      expect(await run.ended).toBe(1)
      expect(run.stderr).toContain("code: 'SCALE_DEV_SERVICES_UNAVAILABLE'")
      expect(run.stderr).toContain(unavailable(what).message)
    }
  })

  test.each(['redis', 's3', 'postgres'] as const)(
    'the example for %s is a line that the check understands',
    async (what) => {
      const { message } = unavailable(what)
      expect(message).toContain('compose.yaml')
      const example = Object.fromEntries([...message.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]))
      expect(Object.keys(example).length).toBeGreaterThan(0)
      // Well formed: if it fails, then because nothing listens there.
      const answer = await checkServices(example, { timeout: 2_000 }).catch((error) => error.message)
      expect(String(answer)).not.toMatch(/must/)
    },
  )
})
