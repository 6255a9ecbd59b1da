import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { waitFor } from '@fastify-scale/dev-services'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { useJobs } from './helpers.ts'

const bench = useJobs()
const sandbox = new URL('fixtures/sandboxed.mjs', import.meta.url)

interface Work {
  what: string
  n?: number
}

async function create(options: object = {}) {
  const app = await bench.create()
  const work = app.jobs.define<Work>('images.work', { sandbox, attempts: 1, memory: '64MB', ...options })
  await app.ready()
  return { app, work }
}

describe('sandboxed handlers', () => {
  test('run in a process of their own, which is kept, while ours stays responsive', async () => {
    const { app, work } = await create()
    let longest = 0
    let last = performance.now()
    const beat = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 5)
    const results: { pid: number }[] = []
    for (let i = 0; i < 2; i++) {
      const { id } = await work.add({ what: 'burn', n: 2e8 })
      results.push((await app.jobs.waitUntilFinished(id)) as { pid: number })
    }
    clearInterval(beat)
    expect(results[0]?.pid).not.toBe(process.pid)
    expect(results[1]).toEqual(results[0])
    expect(longest).toBeLessThan(1_000)
  })

  test('report progress and errors', async () => {
    const { app, work } = await create()
    const progress = await work.add({ what: 'progress' })
    expect(await app.jobs.waitUntilFinished(progress.id)).toBe('done')
    expect(await app.jobs.status(progress.id)).toMatchObject({ progress: { half: true } })
    const thrown = await work.add({ what: 'throw' })
    await expect(app.jobs.waitUntilFinished(thrown.id)).rejects.toMatchObject({
      message: expect.stringContaining('thrown in the child'),
    })
  })

  test.each<[string, RegExp]>([
    ['exit', /exit code: 7/],
    ['memory', /exit code|signal/],
  ])(
    'a child that ends by %s fails its job and no other',
    async (what, message) => {
      const { app, work } = await create()
      const { id } = await work.add({ what })
      await expect(app.jobs.waitUntilFinished(id, { timeout: '60s' })).rejects.toMatchObject({
        message: expect.stringMatching(message),
      })
      const after = await work.add({ what: 'burn', n: 1 })
      expect(await app.jobs.waitUntilFinished(after.id)).toMatchObject({ sum: 0 })
    },
    90_000,
  )

  test('a child that hangs is ended after its timeout', async () => {
    const { app, work } = await create({ timeout: '300ms' })
    const { id } = await work.add({ what: 'hang' })
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      code: 'SCALE_JOBS_FAILED',
      message: expect.stringContaining('took longer than 300 ms'),
    })
    const after = await work.add({ what: 'burn', n: 1 })
    expect(await app.jobs.waitUntilFinished(after.id)).toMatchObject({ sum: 0 })
  })

  test('children end with the service', async () => {
    const { app, work } = await create()
    const { id } = await work.add({ what: 'burn', n: 1 })
    const { pid } = (await app.jobs.waitUntilFinished(id)) as { pid: number }
    await app.close()
    await waitFor(() => !isThere(pid))
  })
})

describe('a module that is still loading', () => {
  const loading = new URL('fixtures/loading.mjs', import.meta.url)
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loading-'))
    vi.stubEnv('LOADING_LOG', join(folder, 'log'))
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })

  /** The process ids of the children that loaded it, and `ran` for each time that its function was called. */
  function log(): string[] {
    const file = join(folder, 'log')
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  }

  test('after its timeout ends with the attempt: no child is left, and the job does not run behind its back', async () => {
    const { app, work } = await create({ sandbox: loading, timeout: '300ms' })
    const { id } = await work.add({ what: 'load' })
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      code: 'SCALE_JOBS_FAILED',
      message: expect.stringContaining('took longer than 300 ms'),
    })
    writeFileSync(join(folder, 'log.go'), '')
    await waitFor(() => log().includes('ran') || log().every((pid) => !isThere(Number(pid))))
    expect(log()).toEqual([expect.stringMatching(/^\d+$/)])
    // Nothing of that is in the way of the next one.
    const after = await work.add({ what: 'load' })
    await app.jobs.waitUntilFinished(after.id)
    expect(log().slice(2)).toEqual(['ran'])
  })

  test('ends with the service', async () => {
    const { app, work } = await create({ sandbox: loading, timeout: false })
    await work.add({ what: 'load' })
    await waitFor(() => log().length === 1)
    await app.close()
    await waitFor(() => !isThere(Number(log()[0])))
  })

  test('and ends its process fails the job', async () => {
    vi.stubEnv('LOADING_EXIT', '3')
    const { app, work } = await create({ sandbox: loading })
    const { id } = await work.add({ what: 'load' })
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({
      message: expect.stringContaining('exit code: 3'),
    })
  })
})

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
