import { runDrainSteps } from '@fastify-scale/kit'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
import { useJobs } from './helpers.ts'

const bench = useJobs()

/** A gate that a handler waits at. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

describe('drain', () => {
  test('running jobs finish, no new one is taken', async () => {
    const app = await bench.create()
    const door = gate()
    const started: number[] = []
    const work = app.jobs.define<number>('work', async (n) => {
      started.push(n)
      await door.opened
      return n
    })
    await app.ready()
    const first = await work.add(1)
    await waitFor(() => started.length === 1)
    const second = await work.add(2)
    const drained = runDrainSteps(app, 10_000)
    setImmediate(door.open)
    expect(await drained).toMatchObject([{ name: 'jobs: workers', ok: true }])
    expect(await app.jobs.status(first.id)).toMatchObject({ state: 'completed', result: 1 })
    expect(await app.jobs.status(second.id)).toMatchObject({ state: 'waiting' })
    expect(started).toEqual([1])
  })

  test('what does not finish in time is told so, handed back at once, and runs elsewhere, knowing that it does again', async () => {
    const leaving = await bench.create({ lock: '1m' })
    const reasons: unknown[] = []
    let started = 0
    const work = leaving.jobs.define<number>('work', (_n, { signal }) => {
      started++
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push((signal.reason as { code: string }).code)
          reject(signal.reason as Error)
        })
      })
    })
    await leaving.ready()
    const { id } = await work.add(1)
    await waitFor(() => started === 1)
    const [result] = await runDrainSteps(leaving, 300)
    expect(result).toMatchObject({ ok: true })
    expect(reasons).toEqual(['SCALE_JOBS_HAND_BACK'])
    expect(await leaving.jobs.status(id)).toMatchObject({ state: 'waiting', attempts: 0 })

    const staying = await bench.create()
    staying.jobs.define('work', (_n, { attempt, reruns }) => ({ attempt, reruns }))
    await staying.ready()
    expect(await staying.jobs.waitUntilFinished(id)).toEqual({ attempt: 1, reruns: 1 })
    // Nothing of the first run comes back to disturb the second.
    await leaving.close()
    expect(await staying.jobs.status(id)).toMatchObject({ state: 'completed', result: { attempt: 1, reruns: 1 } })
  })

  test('app.close() alone drains too, ends in bounded time with a handler that never ends, and may be called twice', async () => {
    const app = await bench.create({ lock: '2s' })
    let started = false
    const work = app.jobs.define('work', { timeout: false }, () => {
      started = true
      return new Promise(() => undefined)
    })
    await app.ready()
    const { id } = await work.add(null)
    await waitFor(() => started)
    const start = performance.now()
    await app.close()
    await app.close()
    // 80% of Fastify's plugin timeout of 10 s, the moment after the signal, and closing.
    expect(performance.now() - start).toBeLessThan(20_000)
    const other = await bench.create({ lock: '2s' })
    other.jobs.define('work', (_data, { reruns }) => reruns)
    await other.ready()
    expect(await other.jobs.waitUntilFinished(id, { timeout: '20s' })).toBeGreaterThanOrEqual(1)
  })
})
