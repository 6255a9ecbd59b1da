import { fork } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { FailedMessage } from '../src/index.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()
const OPTIONS = { lock: '1s', maxCrashes: 1, queues: { default: {} } }

/** Starts a process, and ends when its job has killed it. */
async function crash(): Promise<void> {
  const options = { ...OPTIONS, redis: bench.redis.url, prefix: bench.prefix }
  const child = fork(
    fileURLToPath(new URL('fixtures/killed-by-its-job.mjs', import.meta.url)),
    [JSON.stringify(options)],
    { execArgv: [] },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'exit')
}

function failures(): FailedMessage[] {
  const seen: FailedMessage[] = []
  const onFailed = (message: unknown): void => void seen.push(message as FailedMessage)
  subscribe('fastify-scale:jobs:failed', onFailed)
  onTestFinished(() => void unsubscribe('fastify-scale:jobs:failed', onFailed))
  return seen
}

describe('a job that kills its processes', () => {
  test('is a dead letter that everybody hears of, and has all its chances when it is run again', async () => {
    const failed = failures()
    const web = await bench.create({ ...OPTIONS, role: 'web' })
    const work = web.jobs.define('work', () => undefined)
    await web.ready()
    const { id } = await work.add(null)
    await crash()
    await crash()

    const log: object[] = []
    let runs = 0
    const worker = async () => {
      const app = await bench.create({ ...OPTIONS, role: 'jobs' })
      app.jobs.define('work', (_data, { attempt, reruns }) => {
        runs++
        return { attempt, reruns }
      })
      app.log.warn = ((details: object) => void log.push(details)) as typeof app.log.warn
      await app.ready()
      return app
    }
    const first = await worker()
    await waitFor(() => failed.length > 0)
    expect(failed).toMatchObject([{ queue: 'default', name: 'work', id, final: true, error: expect.any(Error) }])
    expect(log).toContainEqual(expect.objectContaining({ job: id, final: true }))
    expect(await web.jobs.deadLetters('default')).toMatchObject([{ id, state: 'failed' }])
    expect(runs).toBe(0)
    await first.close()

    await web.jobs.retry(id)
    await crash()
    await worker()
    expect(await web.jobs.waitUntilFinished(id)).toEqual({ attempt: 1, reruns: 1 })
    expect(failed).toHaveLength(1)
  })
})

describe('a failure', () => {
  test('is told once, also where the result can not be written down', async () => {
    const failed = failures()
    const app = await bench.create()
    const broken = app.jobs.define('broken', { attempts: 1 }, () => {
      throw new Error('broken')
    })
    const circle = app.jobs.define('circle', { attempts: 1 }, () => {
      const result = { self: {} }
      result.self = result
      return result
    })
    await app.ready()
    const ids = [(await broken.add(null)).id, (await circle.add(null)).id]
    for (const id of ids) await expect(app.jobs.waitUntilFinished(id)).rejects.toThrow()
    await waitFor(() => failed.length >= 2)
    expect(failed.map(({ id, final }) => ({ id, final }))).toEqual(ids.map((id) => ({ id, final: true })))
  })

  test('is final where the attempts that the job was added with are used up, whatever this release would give it', async () => {
    const failed = failures()
    const web = await bench.create({ role: 'web' })
    const rarely = web.jobs.define('work', { attempts: 1 }, () => undefined)
    const often = web.jobs.define('more', { attempts: 2, backoff: '10ms' }, () => undefined)
    await web.ready()
    const worker = await bench.create({ role: 'jobs' })
    const told: number[] = []
    const fail = (_data: unknown, { attempts }: { attempts: number }): never => {
      told.push(attempts)
      throw new Error('broken')
    }
    worker.jobs.define('work', { attempts: 5 }, fail)
    worker.jobs.define('more', { attempts: 1 }, fail)
    await worker.ready()
    await expect(web.jobs.waitUntilFinished((await rarely.add(null)).id)).rejects.toThrow('broken')
    await expect(web.jobs.waitUntilFinished((await often.add(null)).id)).rejects.toThrow('broken')
    expect(told).toEqual([1, 2, 2])
    expect(failed.map(({ name, final }) => [name, final])).toEqual([
      ['work', true],
      ['more', false],
      ['more', true],
    ])
  })
})

test('a job that waits for a process that knows it has lost none', async () => {
  const web = await bench.create({ role: 'web' })
  const work = web.jobs.define('work', () => undefined)
  await web.ready()
  const older = await bench.create({ role: 'jobs' })
  older.jobs.define('other', () => undefined)
  await older.ready()
  const { id } = await work.add(null)
  await waitFor(async () => (await web.jobs.status(id))?.state === 'delayed')
  await older.close()
  const newer = await bench.create({ role: 'jobs' })
  newer.jobs.define('work', (_data, { attempt, reruns }) => ({ attempt, reruns }))
  await newer.ready()
  expect(await web.jobs.waitUntilFinished(id)).toEqual({ attempt: 1, reruns: 0 })
})
