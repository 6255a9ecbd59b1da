import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { processTree } from '../src/proc/index.ts'
import { waitFor } from './helpers.ts'
import { FIXTURES, type Launcher, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

/** Has worker threads and child processes. */
const APP = join(FIXTURES, 'offspring.mjs')
/** What a launcher that is started here has. */
const OWN = getPriority()

async function start(args: string[], options: Parameters<typeof startLauncher>[0] = {}): Promise<Launcher> {
  const launcher = await startLauncher({ app: APP, workers: '1', args: ['--job-workers', '1', ...args], ...options })
  cleanups.push(() => launcher.stop())
  await allReady(launcher)
  return launcher
}

async function allReady(launcher: Launcher): Promise<void> {
  await waitFor(
    async () => {
      const { slots } = await launcher.status()
      return slots.length === 2 && slots.every(({ state }) => state === 'ready')
    },
    { timeout: 30_000, message: 'a web worker and a job worker ready' },
  )
}

/** The nice values of all threads of a worker and of its child processes. */
const niceOf = (launcher: Launcher, role: string): Promise<number[]> => schedulingOf(launcher, role, 19)
/** Their scheduling policies: 0 is the ordinary one, 5 SCHED_IDLE. */
const policiesOf = (launcher: Launcher, role: string): Promise<number[]> => schedulingOf(launcher, role, 41)

/** A field of proc(5)'s stat, of all threads of a worker and of its child processes. */
async function schedulingOf(launcher: Launcher, role: string, field: number): Promise<number[]> {
  const found = new Set<number>()
  const pids = processTree(await pidOf(launcher, role))
  // The worker and its child.
  expect(pids).toHaveLength(2)
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
      // The third is the first after the command's name, which may hold anything.
      found.add(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field - 3]))
    }
  }
  return [...found]
}

async function pidOf(launcher: Launcher, role: string): Promise<number> {
  return (await launcher.status()).slots.find((slot) => slot.role === role)?.pid as number
}

test('job workers yield, with all their threads and child processes; so do those that come after a crash and a reload', async () => {
  const launcher = await start([])
  const look = async (): Promise<object> => ({
    web: await niceOf(launcher, 'web'),
    jobs: await niceOf(launcher, 'jobs'),
  })
  const meant = { web: [OWN], jobs: [OWN + 10] }
  expect(await look()).toEqual(meant)

  const before = await pidOf(launcher, 'jobs')
  process.kill(before, 'SIGKILL')
  await waitFor(async () => ![undefined, before].includes(await pidOf(launcher, 'jobs')))
  await allReady(launcher)
  expect(await look()).toEqual(meant)

  expect(await launcher.ask('reload')).toMatchObject({ ok: true, replaced: 2 })
  expect(await look()).toEqual(meant)
})

test.each([0, 3])('by as much as asked: %i', async (nice) => {
  const launcher = await start(['--job-nice', String(nice)])
  expect(await niceOf(launcher, 'jobs')).toEqual([OWN + nice])
})

test('what the launcher itself was given counts, and 19 is the end', async () => {
  const launcher = await start(['--job-nice', '17'], { node: ['nice', '-n', '4', process.execPath] })
  expect(await niceOf(launcher, 'web')).toEqual([Math.min(OWN + 4, 19)])
  expect(await niceOf(launcher, 'jobs')).toEqual([19])
})

test('where that is refused the job worker says so, and works', async () => {
  const refusing = `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module'
    os.setPriority = () => { throw new Error('EACCES') }; syncBuiltinESMExports()`
  const launcher = await start([], {
    env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(refusing)}` },
  })
  expect(await niceOf(launcher, 'jobs')).toEqual([OWN])
  const lines = launcher.output.out.split('\n').filter((line) => line.includes('priority'))
  expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
    expect.objectContaining({
      level: 40,
      reason: 'EACCES',
      msg: 'the priority of this worker could not be lowered as asked',
    }),
  ])
})

test('idle: job workers give way to everybody, with all their threads and child processes, after a reload too', async () => {
  const launcher = await start(['--job-nice', 'idle'])
  expect([await policiesOf(launcher, 'web'), await policiesOf(launcher, 'jobs')]).toEqual([[0], [5]])
  expect(await launcher.ask('reload')).toMatchObject({ ok: true, replaced: 2 })
  expect([await policiesOf(launcher, 'web'), await policiesOf(launcher, 'jobs')]).toEqual([[0], [5]])
})

test('idle, without chrt: the job worker says so, and has the highest nice value', async () => {
  const launcher = await start(['--job-nice', 'idle'], { env: { PATH: FIXTURES } })
  expect([await policiesOf(launcher, 'jobs'), await niceOf(launcher, 'jobs')]).toEqual([[0], [19]])
  expect(launcher.output.out).toContain('ENOENT')
})
