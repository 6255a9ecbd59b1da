import { waitFor } from '@fastify-scale/dev-services'
import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import type { JobContext } from '../src/index.ts'
import { useJobs } from './helpers.ts'

const bench = useJobs()

describe('jobs', () => {
  test('what one process adds another works off, with its result', async () => {
    const worker = await bench.create({ role: 'jobs' })
    const web = await bench.create({ role: 'web' })
    const contexts: JobContext[] = []
    const work = (data: { width: number }, context: JobContext) => {
      contexts.push(context)
      return { pixels: data.width ** 2 }
    }
    worker.jobs.define('images.resize', work)
    const resize = web.jobs.define('images.resize', work)
    await Promise.all([worker.ready(), web.ready()])
    const { id } = await resize.add({ width: 3 })
    expect(await web.jobs.waitUntilFinished(id)).toEqual({ pixels: 9 })
    expect(await web.jobs.status(id)).toMatchObject({
      id,
      queue: 'images',
      name: 'images.resize',
      state: 'completed',
      result: { pixels: 9 },
      error: undefined,
      attempts: 1,
    })
    expect(contexts).toHaveLength(1)
    expect(contexts[0]).toMatchObject({ id, attempt: 1, attempts: 3, reruns: 0, idempotencyKey: id })
    expect(contexts[0]?.signal.aborted).toBe(false)
    // Asked for after the end, too.
    expect(await web.jobs.waitUntilFinished(id)).toEqual({ pixels: 9 })
  })

  test('a failing handler is tried again, then its job is a dead letter that can be retried', async () => {
    const app = await bench.create()
    let broken = true
    const attempts: number[] = []
    const work = app.jobs.define<{ n: number }>(
      'images.work',
      { attempts: 3, backoff: '10ms' },
      (_data, { attempt }) => {
        attempts.push(attempt)
        if (broken) throw new Error(`broken ${attempt}`)
        return 'mended'
      },
    )
    await app.ready()
    const { id } = await work.add({ n: 1 })
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      code: 'SCALE_JOBS_FAILED',
      message: expect.stringContaining('broken 3'),
    })
    expect(attempts).toEqual([1, 2, 3])
    const [letter] = await app.jobs.deadLetters('images')
    expect(letter).toMatchObject({
      id,
      name: 'images.work',
      data: { n: 1 },
      error: 'broken 3',
      state: 'failed',
      attempts: 3,
    })
    expect(letter?.stack.length).toBeGreaterThan(0)
    broken = false
    await app.jobs.retry(id)
    expect(await app.jobs.waitUntilFinished(id)).toBe('mended')
    expect(attempts).toEqual([1, 2, 3, 1])
    expect(await app.jobs.deadLetters('images')).toEqual([])
    await expect(app.jobs.retry(id)).rejects.toMatchObject({ code: 'SCALE_JOBS_NOT_FOUND' })
  })

  test('a dead letter that several run again at once runs again once', async () => {
    const app = await bench.create()
    let runs = 0
    const work = app.jobs.define('work', { attempts: 1 }, () => {
      if (++runs === 1) throw new Error('broken')
      return 'mended'
    })
    await app.ready()
    const { id } = await work.add(undefined)
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({ code: 'SCALE_JOBS_FAILED' })
    const again = await Promise.all(
      Array.from({ length: 5 }, () => app.jobs.retry(id).catch((error: { code: string }) => error.code)),
    )
    expect(again.sort()).toEqual([...Array.from({ length: 4 }, () => 'SCALE_JOBS_NOT_FOUND'), undefined])
    expect(await app.jobs.waitUntilFinished(id)).toBe('mended')
    expect(runs).toBe(2)
  })

  test('jobs of one key are one job, also when it is done and for other names another', async () => {
    const app = await bench.create()
    const seen: string[] = []
    const one = app.jobs.define<string>(
      'images.one',
      (data, { idempotencyKey }) => void seen.push(`${data} ${idempotencyKey}`),
    )
    const two = app.jobs.define<string>(
      'images.two',
      (data, { idempotencyKey }) => void seen.push(`${data} ${idempotencyKey}`),
    )
    await app.ready()
    const added = await Promise.all(
      Array.from({ length: 20 }, (_, i) => one.add('a', { idempotencyKey: 'order:1', delay: i })),
    )
    expect(new Set(added.map(({ id }) => id)).size).toBe(1)
    await app.jobs.waitUntilFinished(added[0]?.id as string)
    expect((await one.add('again', { idempotencyKey: 'order:1' })).id).toBe(added[0]?.id)
    const other = await two.add('b', { idempotencyKey: 'order:1' })
    await app.jobs.waitUntilFinished(other.id)
    expect(seen).toEqual(['a order:1', 'b order:1'])
  })

  test('a key is remembered for its time although the job is kept no longer', async () => {
    const app = await bench.create({ keep: { completed: { count: 1 } } })
    let runs = 0
    const work = app.jobs.define<number>('work', () => void runs++)
    await app.ready()
    const { id } = await work.add(0, { idempotencyKey: 'once' })
    await app.jobs.waitUntilFinished(id)
    for (let i = 1; i <= 3; i++) await app.jobs.waitUntilFinished((await work.add(i)).id).catch(() => undefined)
    expect(await app.jobs.status(id)).toBeUndefined()
    expect((await work.add(0, { idempotencyKey: 'once' })).id).toBe(id)
    await waitFor(async () => (await app.jobs.counts('default')).waiting === 0)
    await app.jobs.waitUntilFinished((await work.add(4)).id).catch(() => undefined)
    expect(runs).toBe(5)
  })

  test('progress is seen while the job runs', async () => {
    const app = await bench.create()
    let go: () => void = () => undefined
    const gate = new Promise<void>((resolve) => (go = resolve))
    const work = app.jobs.define('work', async (_data, { progress }) => {
      await progress({ step: 'half' })
      await gate
    })
    await app.ready()
    const { id } = await work.add(null)
    await waitFor(async () => (await app.jobs.status(id))?.progress !== 0)
    expect(await app.jobs.status(id)).toMatchObject({ state: 'active', progress: { step: 'half' } })
    go()
    await app.jobs.waitUntilFinished(id)
  })

  test('a delayed job waits', async () => {
    const app = await bench.create()
    const work = app.jobs.define('work', () => Date.now())
    await app.ready()
    const before = Date.now()
    const { id } = await work.add(null, { delay: '300ms' })
    expect(await app.jobs.status(id)).toMatchObject({ state: 'delayed' })
    expect((await app.jobs.waitUntilFinished(id)) as number).toBeGreaterThanOrEqual(before + 300)
  })

  test('TypeBox schemas are checked on adding and on running', async () => {
    const schema = Type.Object({ width: Type.Integer({ minimum: 1 }) })
    const app = await bench.create({ role: 'web' })
    const work = app.jobs.define<{ width: number }>('images.resize', { schema }, () => undefined)
    await app.ready()
    await expect(work.add({ width: 0 })).rejects.toMatchObject({ code: 'SCALE_JOBS_INVALID_DATA', statusCode: 400 })
    // A release that checks less adds what this one would not.
    const old = await bench.create({ role: 'web' })
    const unchecked = old.jobs.define<object>('images.resize', () => undefined)
    await old.ready()
    const { id } = await unchecked.add({ width: 0 })
    const worker = await bench.create({ role: 'jobs' })
    let ran = false
    worker.jobs.define('images.resize', { schema }, () => void (ran = true))
    await worker.ready()
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      message: expect.stringContaining('SCALE_JOBS_INVALID_DATA'),
    })
    expect(ran).toBe(false)
    expect(await app.jobs.deadLetters('images')).toMatchObject([{ id, attempts: 1, data: { width: 0 } }])
  })

  test('high priority overtakes what waits', async () => {
    const web = await bench.create({ role: 'web' })
    const count = 10_000
    const handle = web.jobs.define<number>('work', () => undefined)
    await web.ready()
    const low = Array.from({ length: count }, (_, i) => i)
    while (low.length) await Promise.all(low.splice(0, 500).map((i) => handle.add(i, { priority: 'low' })))
    await handle.add(-2, { priority: 'normal' })
    await handle.add(-1, { priority: 'high' })
    const worker = await bench.create({ role: 'jobs' })
    const order: number[] = []
    worker.jobs.define<number>('work', async (data) => {
      order.push(data)
      // While the others are being worked off, too: when this is done, Redis has it.
      if (data === 1) await handle.add(-3, { priority: 'high' })
    })
    await worker.ready()
    await waitFor(() => order.length >= 6)
    expect(order.slice(0, 6)).toEqual([-1, -2, 0, 1, -3, 2])
  })
})
