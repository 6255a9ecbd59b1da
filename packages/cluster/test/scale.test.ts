import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, expect, test } from 'vitest'
import { waitFor } from './helpers.ts'
import { FIXTURES, type Launcher, runClient, startLauncher } from './launcher.ts'

const SOAK = process.env.SOAK === '1'
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(options: Parameters<typeof startLauncher>[0] = {}): Promise<Launcher> {
  const launcher = await startLauncher(options)
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

test('1 -> 4 -> 1 under load loses nothing', async () => {
  const launcher = await start({ workers: '1' })
  let working = true
  const load = Promise.all([
    runClient('think', launcher.port, SOAK ? 50_000 : 3_000, 100, 100),
    runClient('one', launcher.port, SOAK ? 50_000 : 2_000, 20),
  ]).finally(() => (working = false))
  let turns = 0
  while (working || turns === 0) {
    for (const [order, text] of [
      ['4', '4 workers\n'],
      ['-1', '3 workers\n'],
      ['1', '1 worker\n'],
    ] as const) {
      const { code, out } = await launcher.cli('scale', order)
      expect({ code, out }).toEqual({ code: 0, out: text })
    }
    turns += 1
  }
  const results = await load
  for (const { failures, hangs } of results) expect({ failures, hangs }).toEqual({ failures: 0, hangs: 0 })
  expect((await launcher.status()).slots).toHaveLength(1)
  expect(await launcher.stop()).toBe(0)
}, 300_000)

test('more workers that do not come up: as many as before, and the reason', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fs-scale-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const flag = join(dir, 'flag')
  writeFileSync(flag, 'ok')
  const launcher = await start({ app: join(FIXTURES, 'flagged.mjs'), workers: '1', env: { FLAG: flag } })
  writeFileSync(flag, 'throw')
  const { code, err } = await launcher.cli('scale', '3')
  expect(code).toBe(1)
  expect(err).toMatch(/^fastify-scale scale: .*this release is broken.*\n$/)
  expect((await launcher.status()).slots.map(({ state }) => state)).toEqual(['ready'])
})

test('a range follows how busy the event loops are', async () => {
  const launcher = await start({ workers: '1..2' })
  let busy = true
  const load = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (busy) expect((await fetch(`${launcher.url}/burn?ms=20`)).status).toBe(200)
    }),
  )
  await waitFor(async () => (await launcher.status()).slots.length === 2, { timeout: 40_000 })
  busy = false
  await load
}, 60_000)

test('a worker with more memory than it may have is replaced, and nothing is lost', async () => {
  const launcher = await start({ workers: '1', args: ['--max-memory', '10MB', '--red-after', '500ms'] })
  await waitFor(() => launcher.said(/is replaced to give its memory back/).length >= 1, { timeout: 20_000 })
  expect(await runClient('think', launcher.port, 200, 20, 50)).toMatchObject({ failures: 0, hangs: 0 })
})

test('reloads leak nothing', async () => {
  const launcher = await start({ workers: '1', args: ['--log-level', 'warn'] })
  const descriptors = (): number => readdirSync(`/proc/${launcher.pid}/fd`).length
  const memory = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${launcher.pid}/status`, 'utf8'))?.[1]) / 1_024
  const reload = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) expect(await launcher.ask('reload')).toMatchObject({ ok: true })
  }
  await reload(10)
  const before = { descriptors: descriptors(), memory: memory() }
  await reload(SOAK ? 990 : 20)
  await waitFor(() => descriptors() <= before.descriptors, { message: `${before.descriptors} descriptors as before` })
  const after = { descriptors: descriptors(), memory: memory() }
  console.info(`after 10 reloads ${JSON.stringify(before)}, after ${SOAK ? 1_000 : 30} ${JSON.stringify(after)}`)
  expect(after.memory).toBeLessThan(before.memory + (SOAK ? 5 : 15))
}, 900_000)

test('job workers run the app, do not listen, are reloaded, and scaling leaves them alone', async () => {
  const launcher = await start({ workers: '2', args: ['--job-workers', '1'] })
  const roles = async (): Promise<string[]> => {
    const { slots } = await launcher.status()
    return slots.map(({ slot, role, state, generation }) => `${slot} ${role} ${state} ${generation}`)
  }
  await waitFor(async () => (await roles()).every((row) => row.includes('ready')) && (await roles()).length === 3)
  expect(await roles()).toEqual(['0 web ready 0', '1 web ready 0', '2 jobs ready 0'])
  // Both that listen answer, the third never does.
  const slots = new Set<number>()
  for (let i = 0; i < 40; i++) slots.add(((await (await fetch(launcher.url)).json()) as { slot: number }).slot)
  expect([...slots].every((slot) => slot < 2)).toBe(true)
  expect(await launcher.ask('reload')).toMatchObject({ ok: true, replaced: 3 })
  expect(await roles()).toEqual(['0 web ready 1', '1 web ready 1', '2 jobs ready 1'])
  expect((await launcher.cli('scale', '1')).out).toBe('1 worker\n')
  expect((await launcher.cli('scale', '3')).out).toBe('3 workers\n')
  expect((await roles()).filter((row) => row.includes('jobs'))).toEqual(['2 jobs ready 1'])
  expect((await launcher.status()).slots.map(({ slot }) => slot).sort()).toEqual([0, 1, 2, 3])
  expect(await launcher.stop()).toBe(0)
})
