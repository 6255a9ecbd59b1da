import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
import type { JobOptions, ScaleJobsOptions } from '../src/index.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()

describe('wrong options', () => {
  test.each<[string, unknown, string]>([
    ['an unknown option', { que: {} }, "'que'"],
    ['a prefix with braces', { prefix: '{x}' }, "'prefix'"],
    ['an unknown role', { role: 'worker' }, "'role'"],
    ['a queue with a bad name', { queues: { 'a:b': {} } }, "'a:b'"],
    ['a queue with a bad option', { queues: { a: { concurency: 1 } } }, "'concurency'"],
    ['a concurrency of 0', { queues: { a: { concurrency: 0 } } }, 'queues.a.concurrency'],
    ['a limiter without a duration', { queues: { a: { limiter: { max: 1 } } } }, 'queues.a.limiter.duration'],
    ['a lock of nothing', { lock: 0 }, "'lock'"],
    ['a bad age', { keep: { completed: { age: 'long' } } }, 'keep.completed.age'],
  ])('%s is refused at registration', async (_name, options, message) => {
    await expect(bench.create(options as Partial<ScaleJobsOptions>)).rejects.toMatchObject({
      code: 'SCALE_JOBS_OPTION',
      message: expect.stringContaining(message),
    })
  })

  test.each<[string, string, JobOptions, string, string]>([
    ['a name with a space', 'a b', {}, 'SCALE_JOBS_OPTION', "'a b'"],
    ['a queue that there is not', 'videos.cut', {}, 'SCALE_JOBS_OPTION', "'videos'"],
    ['an unknown option', 'work', { attempt: 1 } as JobOptions, 'SCALE_JOBS_OPTION', "'attempt'"],
    ['no attempts', 'work', { attempts: 0 }, 'SCALE_JOBS_OPTION', 'attempts'],
    ['a bad backoff', 'work', { backoff: { type: 'linear' as 'fixed', delay: 1 } }, 'SCALE_JOBS_OPTION', 'backoff'],
    ['a bad timeout', 'work', { timeout: 'soon' }, 'SCALE_JOBS_OPTION', 'timeout'],
    ['a bad schema', 'work', { schema: { type: 'nothing' } }, 'SCALE_JOBS_OPTION', 'schema'],
  ])('%s is refused where the job is defined', async (_name, job, options, code, message) => {
    const app = await bench.create()
    expect(() => app.jobs.define(job, options, () => undefined)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) as string }) as Error,
    )
  })

  test('a job without a handler, defined twice, or defined too late is refused', async () => {
    const app = await bench.create()
    expect(() => app.jobs.define('work', undefined as never)).toThrow(
      expect.objectContaining({ code: 'SCALE_JOBS_OPTION' }),
    )
    expect(() => app.jobs.define('work', {}, undefined as never)).toThrow(
      expect.objectContaining({ code: 'SCALE_JOBS_OPTION' }),
    )
    app.jobs.define('work', () => undefined)
    const refused = expect.objectContaining({ code: 'SCALE_JOBS_DEFINE' }) as Error
    expect(() => app.jobs.define('work', () => undefined)).toThrow(refused)
    await app.ready()
    expect(() => app.jobs.define('late', () => undefined)).toThrow(refused)
  })

  test.each([
    ['nonsense', 'UTC'],
    ['', 'UTC'],
    ['* * * *', 'UTC'],
    ['61 * * * *', 'UTC'],
    ['0 3 31 2 *', 'UTC'],
    ['0 3 * * *', 'Europe/Atlantis'],
    ['0 3 * * *', ''],
  ])('cron %j in %j is refused', async (pattern, timezone) => {
    const app = await bench.create()
    expect(() => app.jobs.cron('sweep', pattern, { timezone }, () => undefined)).toThrow(
      expect.objectContaining({ code: 'SCALE_JOBS_CRON' }) as Error,
    )
  })
})

describe('wrong data', () => {
  const circular: { self?: unknown } = {}
  circular.self = circular

  test.each<[string, unknown, object, string]>([
    ['too large', 'x'.repeat(300_000), {}, 'SCALE_JOBS_TOO_LARGE'],
    ['circular', circular, {}, 'SCALE_JOBS_INVALID_DATA'],
    ['a bigint', 1n, {}, 'SCALE_JOBS_INVALID_DATA'],
    ['an unknown priority', 1, { priority: 'urgent' }, 'SCALE_JOBS_OPTION'],
    ['a priority of the prototype', 1, { priority: 'constructor' }, 'SCALE_JOBS_OPTION'],
    ['a negative delay', 1, { delay: -1 }, 'SCALE_JOBS_OPTION'],
    ['an empty key', 1, { idempotencyKey: '' }, 'SCALE_JOBS_OPTION'],
    ['a misspelt option', 1, { key: 'a' }, 'SCALE_JOBS_OPTION'],
  ])('%s is refused and nothing is added', async (_name, data, options, code) => {
    const app = await bench.create({ role: 'web' })
    const work = app.jobs.define('work', () => undefined)
    await app.ready()
    await expect((async () => work.add(data, options))()).rejects.toMatchObject({ code })
    expect(await app.jobs.counts('default')).toMatchObject({ waiting: 0, delayed: 0 })
  })

  test('keys of any form and length make ids that BullMQ takes', async () => {
    const app = await bench.create({ role: 'web' })
    const work = app.jobs.define('work', () => undefined)
    await app.ready()
    const ids = new Set<string>()
    for (const key of ['a:b', '42', '0', 'x'.repeat(10_000), '{}', '\0', 'ü', ':'])
      ids.add((await work.add(1, { idempotencyKey: key })).id)
    expect(ids.size).toBe(8)
    expect(await app.jobs.counts('default')).toMatchObject({ waiting: 8 })
  })

  test.each([
    ...['nothing', 'nothing.at-all', 'default.', '.x', 'default.__proto__', '__proto__.x', 'constructor.x', ''],
    // BullMQ has keys of these names, of other types or with other things.
    ...['default.meta', 'default.id', 'default.wait', 'default.prioritized', 'default.events'],
    ...[undefined, null, 5, {}],
  ])('an id that is none, %j, is not found', async (given) => {
    const id = given as string
    const app = await bench.create({ role: 'web' })
    const work = app.jobs.define('work', () => undefined)
    await app.ready()
    await work.add(1)
    expect(await app.jobs.status(id)).toBeUndefined()
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      code: 'SCALE_JOBS_NOT_FOUND',
      statusCode: 404,
    })
    await expect(app.jobs.retry(id)).rejects.toMatchObject({ code: 'SCALE_JOBS_NOT_FOUND' })
  })

  test('data that somebody else put into the queue fail for good and are kept', async () => {
    const app = await bench.create()
    app.jobs.define('work', () => undefined)
    await app.ready()
    await app.jobs.queues()[0]?.add('work', { not: 'ours' })
    const [letter] = await waitFor(async () => {
      const letters = await app.jobs.deadLetters('default')
      return letters.length > 0 && letters
    })
    expect(letter).toMatchObject({ name: 'work', error: expect.stringContaining('SCALE_JOBS_INVALID_DATA') })
  })
})

describe('handlers that misbehave', () => {
  test('a job that no process knows yet waits for one that does', async () => {
    const old = await bench.create({ role: 'jobs' })
    old.jobs.define('work', () => 'old')
    const web = await bench.create({ role: 'web' })
    const newer = web.jobs.define('newer', () => undefined)
    await Promise.all([old.ready(), web.ready()])
    const { id } = await newer.add(1)
    await waitFor(async () => (await web.jobs.status(id))?.state === 'delayed')
    const next = await bench.create({ role: 'jobs' })
    next.jobs.define('work', () => 'new')
    next.jobs.define('newer', (_data, { attempt }) => ({ attempt }))
    await next.ready()
    await old.close()
    expect(await web.jobs.waitUntilFinished(id)).toEqual({ attempt: 1 })
  })

  test('one that hangs is told by its signal and its attempt fails; the next one runs', async () => {
    const app = await bench.create()
    const reasons: unknown[] = []
    const work = app.jobs.define(
      'work',
      { timeout: '100ms', attempts: 2, backoff: 0 },
      (_data, { attempt, signal }) => {
        if (attempt === 2) return 'second'
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push((signal.reason as { code: string }).code)
            reject(new Error('stopped'))
          })
        })
      },
    )
    await app.ready()
    const { id } = await work.add(1)
    expect(await app.jobs.waitUntilFinished(id)).toBe('second')
    expect(reasons).toEqual(['SCALE_JOBS_TIMEOUT'])
  })

  test.each<[string, () => unknown, string]>([
    [
      'throws text',
      () => {
        throw 'text' as unknown as Error
      },
      'text',
    ],
    [
      'throws nothing',
      () => {
        throw undefined as unknown as Error
      },
      '',
    ],
    ['rejects', () => Promise.reject(new Error('rejected')), 'rejected'],
    ['returns what JSON has not', () => 1n, ''],
  ])('one that %s makes a dead letter', async (_name, handler, message) => {
    const app = await bench.create()
    const work = app.jobs.define('work', { attempts: 1 }, handler)
    await app.ready()
    const { id } = await work.add(1)
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({ code: 'SCALE_JOBS_FAILED' })
    const [letter] = await app.jobs.deadLetters('default')
    expect(letter).toMatchObject({ id, state: 'failed' })
    expect(letter?.error ?? '').toContain(message)
  })
})

describe('Redis', () => {
  test('frozen: adding rejects within its time and says that it is not known; what is asked for rejects too', async () => {
    const app = await bench.create({ role: 'web', timeout: '300ms' })
    const work = app.jobs.define('work', () => undefined)
    await app.ready()
    bench.redis.freeze()
    const start = performance.now()
    const outcomes = await Promise.allSettled([
      work.add(1, { idempotencyKey: 'one' }),
      app.jobs.status('default.x'),
      app.jobs.counts('default'),
    ])
    const took = performance.now() - start
    bench.redis.thaw()
    for (const outcome of outcomes)
      expect((outcome as PromiseRejectedResult).reason).toMatchObject({
        code: 'SCALE_JOBS_UNAVAILABLE',
        statusCode: 503,
      })
    expect(took).toBeLessThan(2_000)
    // The same key again: one job, whether or not the first was added.
    const { id } = await waitFor(() => work.add(1, { idempotencyKey: 'one' }).catch(() => undefined))
    expect(await app.jobs.counts('default')).toMatchObject({ waiting: 1 })
    expect(await app.jobs.status(id)).toMatchObject({ state: 'waiting' })
  })

  test('a connection that breaks does not: the job is added once', async () => {
    const app = await bench.create({ role: 'web' })
    const work = app.jobs.define<number>('work', () => undefined)
    await app.ready()
    const raw = new Redis(bench.redis.url)
    for (let i = 0; i < 30; i++) {
      const adding = work.add(i)
      await raw.call('CLIENT', 'KILL', 'TYPE', 'normal')
      await adding
    }
    raw.disconnect()
    expect(await app.jobs.counts('default')).toMatchObject({ waiting: 30 })
  })

  test('that throws keys away when full is warned of', async () => {
    const raw = new Redis(bench.redis.url)
    await raw.config('SET', 'maxmemory-policy', 'allkeys-lru')
    const warnings: unknown[] = []
    const app = await bench.create({ role: 'web' })
    app.log.warn = (details: unknown) => void warnings.push(details)
    await app.ready()
    await waitFor(() => warnings.length > 0)
    expect(warnings).toEqual([{ policy: 'allkeys-lru' }])
    await raw.config('SET', 'maxmemory-policy', 'noeviction')
    raw.disconnect()
  })
})

describe('the command fastify-scale-jobs', () => {
  const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
  async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const connection = ['--redis', bench.redis.url, '--prefix', bench.prefix]
    return promisify(execFile)(process.execPath, [cli, ...args, ...connection]).then(
      ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
      (error: { code: number; stdout: string; stderr: string }) => ({
        code: error.code,
        out: error.stdout,
        err: error.stderr,
      }),
    )
  }

  test('counts, lists dead letters and runs them again', async () => {
    const app = await bench.create()
    let broken = true
    const work = app.jobs.define<number>('images.work', { attempts: 1 }, () => {
      if (broken) throw new Error('disk full')
      return 'ok'
    })
    await app.ready()
    const added = await Promise.all([1, 2, 3].map((n) => work.add(n)))
    await waitFor(async () => (await app.jobs.counts('images')).failed === 3)
    expect((await run('queues')).out).toContain('images: 0 waiting, 0 delayed, 0 active, 0 completed, 3 failed')
    const listed = await run('dead', 'images')
    expect(listed.out.trim().split('\n')).toHaveLength(3)
    expect(listed.out).toContain('after 1 attempt: disk full')
    const json = (await run('dead', '--json')).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { data: number })
    expect(json.map(({ data }) => data).sort()).toEqual([1, 2, 3])
    broken = false
    expect(await run('retry', added[0]?.id as string)).toMatchObject({ code: 0, out: '1 job waits to run again\n' })
    expect(await run('retry', '--all', 'images')).toMatchObject({ code: 0, out: '2 jobs wait to run again\n' })
    for (const { id } of added) expect(await app.jobs.waitUntilFinished(id)).toBe('ok')
  })

  test('runs every dead letter again, once, however many there are and though they fail at once', async () => {
    const app = await bench.create({ queues: { images: { concurrency: 50 } } })
    const runs = new Map<number, number>()
    const work = app.jobs.define<number>('images.work', { attempts: 1 }, (n) => {
      runs.set(n, (runs.get(n) ?? 0) + 1)
      throw new Error('still broken')
    })
    await app.ready()
    const count = 1_200
    const dead = (times: number) => async () =>
      (await app.jobs.counts('images')).failed === count && [...runs.values()].every((n) => n === times)
    await Promise.all(Array.from({ length: count }, (_, n) => work.add(n)))
    await waitFor(dead(1), { timeout: 30_000 })
    expect(await run('retry', '--all', 'images')).toMatchObject({ out: `${count} jobs wait to run again\n` })
    await waitFor(dead(2), { timeout: 30_000 })
  }, 90_000)

  test('mistakes are one line', async () => {
    expect(await run('retry', 'images.nothing')).toMatchObject({
      code: 1,
      err: "fastify-scale-jobs retry: there is no job 'images.nothing' (any more) (SCALE_JOBS_NOT_FOUND)\n",
    })
    expect((await run('retry')).code).toBe(2)
    expect((await run('retyr')).code).toBe(2)
  })
})
