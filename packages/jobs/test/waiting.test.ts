import { EventEmitter } from 'node:events'
import { startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { JobStatus } from '../src/index.ts'
import { waitForEnd } from '../src/waiting.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()

/** Waits for a job that nobody runs. */
async function waitInVain() {
  const app = await bench.create({ role: 'web' })
  const work = app.jobs.define('work', () => undefined)
  await app.ready()
  const { id } = await work.add(undefined)
  const waiting = app.jobs.waitUntilFinished(id)
  waiting.catch(() => undefined)
  return { app, id, waiting }
}

describe('waitUntilFinished', () => {
  const warnings: string[] = []
  const onWarning = ({ name }: Error): void => void warnings.push(name)
  beforeEach(() => void process.on('warning', onWarning))
  afterEach(() => void process.off('warning', onWarning))

  // What nobody catches would end the process, and ends this run as failed.
  test.each(['frozen', 'killed'] as const)('goes on over a Redis that is %s', async (how) => {
    const redis = await startRedis()
    const app = await bench.create({ redis: redis.url, timeout: '200ms' })
    const work = app.jobs.define('work', () => 'done')
    await app.ready()
    const { id } = await work.add(undefined, { delay: '2s' })
    let settled = false
    const result = app.jobs.waitUntilFinished(id).finally(() => (settled = true))
    await waitFor(() => app.jobs.status(id).then((status) => status?.state === 'delayed'))
    if (how === 'frozen') redis.freeze()
    else await redis.kill()
    let unanswered = 0
    await waitFor(async () => {
      await app.jobs.counts('default').catch(() => unanswered++)
      return unanswered > 3
    })
    expect(settled).toBe(false)
    if (how === 'frozen') redis.thaw()
    else await redis.restart()
    // A server that was killed may have lost the job.
    expect(await result.catch((error: { code: string }) => error.code)).toMatch(
      how === 'frozen' ? /^done$/ : /^(done|SCALE_JOBS_NOT_FOUND)$/,
    )
    await app.close()
    await redis.stop()
  })

  test('for a job that is removed meanwhile ends with SCALE_JOBS_NOT_FOUND', async () => {
    const { app, id, waiting } = await waitInVain()
    await app.jobs.queues()[0]?.remove(id.slice('default.'.length))
    const begun = performance.now()
    await expect(waiting).rejects.toMatchObject({ code: 'SCALE_JOBS_NOT_FOUND' })
    expect(performance.now() - begun).toBeLessThan(8_000)
  })

  test.each([
    ['completed', { returnvalue: 7 }, 7],
    ['failed', { failedReason: 'seven' }, "job 'default.7' failed: seven"],
  ])('hears of the end of a job of which nothing is kept: %s', async (event, told, expected) => {
    const events = new EventEmitter()
    let looks = 0
    const waiting = waitForEnd({
      id: 'default.7',
      jobId: '7',
      look: async () => {
        // Gone before its event is there.
        if (++looks === 2) setImmediate(() => events.emit(`${event}:7`, told))
        return looks === 1 ? ({ state: 'active' } as JobStatus) : undefined
      },
      events: events as never,
      patience: 5_000,
      closing: new AbortController().signal,
    })
    expect(await waiting.catch((error: Error) => error.message)).toBe(expected)
    expect(events.eventNames()).toEqual([])
  })

  test('may be called by many at once', async () => {
    const app = await bench.create()
    const work = app.jobs.define('work', () => 'done')
    await app.ready()
    const { id } = await work.add(undefined, { delay: '1s' })
    const all = await Promise.all(Array.from({ length: 20 }, () => app.jobs.waitUntilFinished(id)))
    expect(new Set(all)).toEqual(new Set(['done']))
    expect(warnings).toEqual([])
  })

  test('ends when the service closes', async () => {
    const { app, waiting } = await waitInVain()
    await waitFor(async () => (await app.jobs.counts('default')).waiting === 1)
    await app.close()
    await expect(waiting).rejects.toMatchObject({ code: 'SCALE_JOBS_UNAVAILABLE', statusCode: 503 })
  })
})

test('progress that a handler does not wait for, of a job that Redis has lost, ends no process', async () => {
  const app = await bench.create()
  const client = new Redis(bench.redis.url)
  const told: string[] = []
  const work = app.jobs.define('work', async (_data, { id, progress }) => {
    await client.del(`{${bench.prefix}}:default:${id.slice('default.'.length)}`)
    void progress(1)
    // Answered after the first.
    await progress(2).catch(({ message }: Error) => told.push(message))
  })
  await app.ready()
  await work.add(undefined)
  await waitFor(() => told.length === 1)
  expect(told[0]).toContain('Missing key')
  client.disconnect()
})
