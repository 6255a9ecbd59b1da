import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Services, freePort, isAlive, killTree, waitFor } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { boardEnv, startBoardServices } from './support/board.ts'

const script = fileURLToPath(new URL('../start.mjs', import.meta.url))
let services: Services

beforeAll(async () => {
  services = await startBoardServices()
}, 240_000)

afterAll(() => services?.stop())

interface Started {
  start: ChildProcess
  /** start.mjs itself: under a terminal that is not the child. */
  pid: number
  launcher: number
  /** Everything that serves. */
  pids: number[]
  ended: Promise<unknown[]>
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number).filter(Boolean)
const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')

/** What `npx pnpm start` runs; with `terminal` on one of its own, whose keys are the child's standard input. */
async function start(options: { terminal?: boolean } = {}): Promise<Started> {
  const port = await freePort()
  const args = [script, '--port', String(port), '--workers', '1', '--name', `start-${port}`]
  const env = { ...boardEnv(services), TERM: 'dumb' }
  const line = `exec ${[process.execPath, ...args].map((arg) => `'${arg}'`).join(' ')}`
  const child = options.terminal
    ? spawn('script', ['-qec', line, '/dev/null'], { env, stdio: ['pipe', 'ignore', 'ignore'] })
    : spawn(process.execPath, args, { env, stdio: 'ignore' })
  const ended = once(child, 'exit')
  onTestFinished(() => (isAlive(child.pid as number) ? killTree(child.pid as number) : undefined))
  const ok = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/api/banner`)).ok
  await waitFor(ok, { timeout: 60_000, interval: 100, message: 'the board serves' })
  const pid = options.terminal ? (childrenOf(child.pid as number)[0] as number) : (child.pid as number)
  const launcher = childrenOf(pid).find((one) => commandOf(one).includes('cli.js start')) as number
  const pids = [launcher, ...childrenOf(launcher)]
  expect(pids.length).toBeGreaterThanOrEqual(2)
  return { start: child, pid, launcher, pids, ended }
}

const allGone = (pids: number[]): Promise<unknown> =>
  waitFor(() => pids.every((pid) => !isAlive(pid)), { timeout: 30_000, message: 'all that served is gone' })

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s to the start script alone drains the launcher and ends all',
  async (signal) => {
    const { pid, pids, ended } = await start()
    process.kill(pid, signal)
    expect(await ended).toEqual([0, null])
    await allGone(pids)
  },
  120_000,
)

test('the start script killed hard leaves no launcher and no worker behind', async () => {
  const { pid, pids } = await start()
  process.kill(pid, 'SIGKILL')
  await allGone(pids)
}, 120_000)

test('in a terminal one ^C drains and ends all', async () => {
  const { start: terminal, pids, ended } = await start({ terminal: true })
  terminal.stdin?.write('\x03')
  expect(await ended).toEqual([0, null])
  await allGone(pids)
}, 120_000)

test('in a terminal a second ^C does not wait for the drain', async () => {
  const { start: terminal, pid, pids, ended } = await start({ terminal: true })
  // A worker that is stopped never ends by itself.
  for (const worker of pids.slice(1)) process.kill(worker, 'SIGSTOP')
  // One that comes right after the first is taken for the same: npx and npm pass a signal on that the terminal has sent.
  const press = async (): Promise<boolean> => {
    terminal.stdin?.write('\x03')
    return !isAlive(pid)
  }
  const since = performance.now()
  await waitFor(press, { interval: 300, timeout: 30_000 })
  expect(performance.now() - since).toBeLessThan(10_000)
  expect(await ended).toEqual([130, null])
  await allGone(pids)
}, 120_000)

test('the address that is printed is the one of --port, also after the -- that pnpm hands on', async () => {
  const port = await freePort()
  const env = boardEnv(services)
  const child = spawn(process.execPath, [script, '--', '--port', String(port), '--name', `start-${port}`], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  onTestFinished(() => killTree(child.pid as number))
  let said = ''
  child.stderr.on('data', (data) => (said += data))
  await waitFor(() => said.includes('Open '), { timeout: 30_000 })
  expect(said).toContain(`Open http://localhost:${port} `)
})

describe('two hosts', () => {
  const twoHosts = fileURLToPath(new URL('../start-two-hosts.mjs', import.meta.url))

  async function startTwoHosts(change: NodeJS.ProcessEnv = {}) {
    const dir = mkdtempSync(join(tmpdir(), 'two-hosts-'))
    const env = { ...boardEnv(services), TMPDIR: dir, ...change }
    const args = [twoHosts, '--', '--port', String(await freePort()), '--workers', '1']
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(child, 'exit')
    const output = { said: '' }
    child.stderr.on('data', (data) => (output.said += data))
    onTestFinished(async () => {
      if (isAlive(child.pid as number)) await killTree(child.pid as number)
      rmSync(dir, { recursive: true })
    })
    return { child, dir, ended, output, pid: child.pid as number }
  }

  test('^C while they start ends all at once, and leaves nothing', async () => {
    const { child, dir, ended, pid } = await startTwoHosts()
    const launchers = () => childrenOf(pid).filter((one) => commandOf(one).includes('cli.js start'))
    await waitFor(() => launchers().length === 2, { timeout: 30_000 })
    const pids = launchers()
    const since = performance.now()
    child.kill('SIGINT')
    expect(await ended).toEqual([1, null])
    expect(performance.now() - since).toBeLessThan(3_000)
    await allGone(pids)
    expect(readdirSync(dir)).toEqual([])
  }, 60_000)
})
