import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Level, busiest, growth, redLines } from '../src/load/measure.ts'
import { pageOf } from '../src/load/page.ts'
import { sentencesOf, tableOf } from '../src/load/report.ts'
import { processTree } from '../src/proc/sampler.ts'
import type { LauncherStatus } from '../src/status.ts'
import { isAlive, spawnGuarded, waitFor } from './helpers.ts'
import { collect } from './launcher.ts'

const run = promisify(execFile)
const cli = new URL('../dist/cli.js', import.meta.url).pathname
const app = new URL('fixtures/app.mjs', import.meta.url).pathname

const level = (over: Partial<Level>): Level => ({
  connections: 8,
  rps: 1_000,
  latency: { p50: 1, p97: 2, p99: 3, max: 9 },
  failed: 0,
  ...over,
})

test('red lines: CPU past 75% of a core, memory past 85% of the share', () => {
  expect(redLines(level({ cpu: 0.75, memory: 85, memoryLimit: 100 }))).toEqual([])
  expect(redLines(level({ cpu: 0.76, memory: 86, memoryLimit: 100 }))).toEqual(['cpu', 'memory'])
  expect(redLines(level({}))).toEqual([])
})

test('the busiest worker counts, and one spike of CPU is not a level', () => {
  const look = (...cpus: number[]) =>
    ({
      slots: cpus.map((cpu, slot) => ({
        slot,
        cpu,
        memory: 1_000 * (slot + 1),
        memoryLimit: 9_000,
        loopDelay: cpu * 10,
      })),
    }) as unknown as LauncherStatus
  expect(busiest([look(0.2, 0.5), look(0.99, 0.1), look(0.3, 0.4)])).toEqual({
    cpu: 0.5,
    memory: 2_000,
    memoryLimit: 9_000,
    loopDelay: 9.9,
  })
  expect(busiest([])).toEqual({ cpu: undefined, memory: undefined, memoryLimit: undefined, loopDelay: undefined })
})

test('growth leaves levels with failures out', () => {
  expect(
    growth([
      level({ workers: 1, rps: 100 }),
      level({ workers: 1, rps: 120 }),
      level({ workers: 2, rps: 900, failed: 3 }),
      level({ workers: 2, rps: 180 }),
    ]),
  ).toEqual([
    { workers: 1, rps: 120, times: 1 },
    { workers: 2, rps: 180, times: 1.5 },
  ])
})

test('the report says what a reader wants to know, the page shows it and runs nothing of the target’s', () => {
  const levels = [
    level({ workers: 1, cpu: 0.5 }),
    level({ workers: 1, connections: 64, rps: 1_500, cpu: 0.9 }),
    level({ workers: 2, rps: 2_900, cpu: 0.6 }),
  ]
  expect(sentencesOf(levels)).toEqual([
    "The first red line (cpu: CPU 75% of a core, memory 85% of a worker's share) is crossed at 64 connections on 1 worker, 1500 requests/s.",
    'Throughput by workers: 1: 1500/s (1.00x), 2: 2900/s (1.93x).',
  ])
  expect(sentencesOf([level({ refused: 700, workers: 2 })])).toEqual([
    'No red line was crossed.',
    "Requests were answered by 4xx at 8 connections on 2 workers (700): are path and headers those of the app's users?",
  ])
  expect(tableOf(levels)).toContain('red: cpu')
  const page = pageOf('<script>alert(1)</script>', 'now', levels)
  expect(page).not.toContain('<script>')
  expect(page.match(/<svg/g)).toHaveLength(3)
})

test('measures an app at each number of workers and leaves nothing running', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'load-test-'))
  try {
    const [json, html] = [join(dir, 'load.json'), join(dir, 'load.html')]
    const { stdout } = await run(
      process.execPath,
      [cli, 'load', app, '--workers', '1,2', '--connections', '2', '--seconds', '3', '--json', json, '--html', html],
      { timeout: 60_000 },
    )
    const { levels } = JSON.parse(await readFile(json, 'utf8')) as { levels: Level[] }
    expect(levels.map(({ workers, failed }) => [workers, failed])).toEqual([
      [1, 0],
      [2, 0],
    ])
    for (const one of levels) {
      expect(one.rps).toBeGreaterThan(0)
      expect(one.memory).toBeGreaterThan(10_000_000)
    }
    expect(stdout).toContain('Throughput by workers')
    expect(await readFile(html, 'utf8')).toContain('<svg')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}, 90_000)

test('measures a URL, with failures told and the exit code 1', async () => {
  const server = Fastify()
  server.get('/broken', async (_request, reply) => reply.code(500).send('broken'))
  await server.listen({ port: 0, host: '127.0.0.1' })
  try {
    const url = `http://127.0.0.1:${(server.server.address() as { port: number }).port}`
    const result = await run(process.execPath, [
      cli,
      'load',
      url,
      '--path',
      '/broken',
      '--connections',
      '1',
      '--seconds',
      '1',
    ]).catch((error: { code: number; stdout: string }) => error)
    expect(result).toMatchObject({ code: 1, stdout: expect.stringContaining('no result') as string })
  } finally {
    await server.close()
  }
})

describe('an app of its own', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'load-app-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  /** Starts `load` on an app of this body; what it leaves behind would be in `dir`. */
  async function start(body: string, ...args: string[]): Promise<ReturnType<typeof spawnGuarded>> {
    await writeFile(join(dir, 'app.mjs'), `export default async (fastify) => { ${body} }`)
    await writeFile(join(dir, 'package.json'), '{}')
    return spawnGuarded(process.execPath, [cli, 'load', join(dir, 'app.mjs'), '--connections', '1', ...args], {
      env: { ...process.env, TMPDIR: dir },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  test('is found by what the launcher says, not by a line of its own, and 4xx are told', async () => {
    const app = `fastify.log.info('database ready on http://127.0.0.1:9'); fastify.get('/there', async () => 'yes')`
    const { code, out } = await collect(await start(app, '--workers', '1', '--seconds', '1'))
    expect(out).toMatch(/answered by 4xx at 1 connection on 1 worker \(\d+\)/)
    expect(out).not.toContain('failed at')
    expect(code).toBe(0)
  }, 60_000)

  test('of which not all workers start is given up, with the reason', async () => {
    const app = `if (fastify.cluster.worker.slot > 0) throw new RangeError('there can be only one')`
    const { code, err } = await collect(await start(app, '--workers', '2', '--seconds', '1'))
    expect(err).toMatch(/only 1 of 2 workers became ready: .*there can be only one/)
    expect(code).toBe(1)
  }, 60_000)

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'ends with us at %s',
    async (signal) => {
      const child = await start(`fastify.get('/', async () => 'yes')`, '--workers', '1', '--seconds', '60')
      const ended = collect(child)
      // Ourselves, the launcher and its worker.
      const pids = await waitFor(() => {
        const tree = processTree(child.pid as number)
        return tree.length >= 3 && tree
      })
      child.kill(signal)
      expect((await ended).code).toBe({ SIGTERM: 143, SIGINT: 130, SIGHUP: 129 }[signal])
      // A worker that was starting ends when it finds its launcher gone.
      await waitFor(() => !pids.some(isAlive))
      expect((await readdir(dir)).sort()).toEqual(['app.mjs', 'package.json'])
    },
    60_000,
  )
})

test("measures a URL's own path, unless --path names another", async () => {
  const asked = new Set<string>()
  const server = Fastify()
  server.get('/*', async ({ url }) => asked.add(url).size)
  const base = await server.listen({ port: 0, host: '127.0.0.1' })
  const load = (...args: string[]) =>
    run(process.execPath, [cli, 'load', ...args, '--connections', '1', '--seconds', '1'])
  try {
    await load(`${base}/api/photos?page=2`)
    expect([...asked]).toEqual(['/api/photos?page=2'])
    asked.clear()
    await load(`${base}/api/photos`, '--path', '/other')
    expect([...asked]).toEqual(['/other'])
    asked.clear()
    await load(base)
    expect([...asked]).toEqual(['/'])
  } finally {
    await server.close()
  }
}, 60_000)

test.each([
  [[], 2, /of what\?/],
  [['nowhere.js'], 1, /there is no app/],
  [[app, '--connections', 'many'], 2, /--connections must be whole numbers/],
  [[app, '--header', 'nonsense'], 2, /--header must be like/],
])('called wrongly (%j) it says so in one line', async (args, code, message) => {
  const result = (await run(process.execPath, [cli, 'load', ...args]).catch((error: unknown) => error)) as {
    code: number
    stderr: string
  }
  expect(result.code).toBe(code)
  expect(result.stderr).toMatch(message)
  expect(result.stderr.trim().split('\n')).toHaveLength(1)
})
