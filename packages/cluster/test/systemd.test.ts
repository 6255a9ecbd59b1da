import { spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startSdNotify } from '../src/primary/sd-notify.ts'
import { systemdSockets } from '../src/primary/systemd.ts'
import type { Primary } from '../src/primary/types.ts'
import { spawnGuarded, waitFor } from './helpers.ts'
import { FIXTURES, startLauncher } from './launcher.ts'

let dir: string
const cleanups: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fs-sd-'))
})
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true, force: true })
})

/** A socket such as systemd's NOTIFY_SOCKET: Node can't make one, perl can. */
async function notifySocket(): Promise<{ path: string; received: string[] }> {
  const path = join(dir, 'notify')
  const script = `use Socket; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; bind(S, sockaddr_un($ARGV[0])) or die; print "bound\\n";
    while (defined recv(S, my $m, 65536, 0)) { $m =~ s/\\n/|/g; print "$m\\n" }`
  const child = spawn('perl', ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(() => child.kill('SIGKILL'))
  const received: string[] = []
  child.stdout.on('data', (chunk) => received.push(...String(chunk).trim().split('\n')))
  await waitFor(() => received.includes('bound'))
  return { path, received }
}

test('systemd is told of READY, RELOADING, WATCHDOG and STOPPING; workers are not', async () => {
  const { path, received } = await notifySocket()
  const launcher = await startLauncher({ env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '1000000' } })
  cleanups.push(() => launcher.stop('SIGKILL'))
  const missing = launcher.said(/systemd-notify can't be run/)
  // A machine without systemd has nobody to tell.
  if (missing.length > 0) return expect(missing).toHaveLength(1)
  await waitFor(() => received.some((line) => line.startsWith(`READY=1|MAINPID=${launcher.pid}|STATUS=`)))
  await waitFor(() => received.includes('WATCHDOG=1'))
  await launcher.ask('reload')
  await waitFor(() => received.some((line) => /^RELOADING=1\|MONOTONIC_USEC=\d+$/.test(line)))
  await waitFor(() => received.some((line) => /^READY=1\|STATUS=2 of 2 workers ready/.test(line)))
  expect(await launcher.stop()).toBe(0)
  await waitFor(() => received.includes('STOPPING=1'))
})

/** Tells of the events of a primary without workers. A machine without systemd has nobody to tell: it warns. */
async function startTelling() {
  const { path, received } = await notifySocket()
  const events = new EventEmitter()
  const primary = { pid: process.pid, events, slots: [], addresses: [] } as unknown as Primary
  const warnings: string[] = []
  const notify = startSdNotify(primary, (message) => warnings.push(message), { ...process.env, NOTIFY_SOCKET: path })
  cleanups.push(notify.stop)
  return { events, received, warnings }
}

test('in the order in which it happens, however fast: a reload that fails at once is over', async () => {
  const { events, received, warnings } = await startTelling()
  const told = (): string[] => received.flatMap((line) => /^(?:READY|RELOADING)/.exec(line) ?? [])
  const expected: string[] = []
  for (let i = 0; i < 10; i++) {
    events.emit('progress', { done: 0, total: 1, phase: 'starting', slot: 0 })
    events.emit('reload', { ok: false, reason: 'there is no app' })
    expected.push('RELOADING', 'READY')
  }
  await waitFor(() => told().length === expected.length || warnings.length > 0)
  if (warnings.length === 0) expect(told()).toEqual(expected)
})

test('that it stops is told at once: the launcher may be gone before what waits had its turn', async () => {
  const { events, received, warnings } = await startTelling()
  for (let i = 0; i < 10; i++) events.emit('reload', { ok: false, reason: 'there is no app' })
  events.emit('stopping')
  await waitFor(() => received.includes('STOPPING=1') || warnings.length > 0)
  // Beside the one that was under way.
  expect(received.filter((line) => line.startsWith('READY')).length).toBeLessThanOrEqual(1)
})

test('the unit that is shown lets systemd-notify speak for the launcher', () => {
  const unit = readFileSync(new URL('../../../deploy/systemd/photo-board.service', import.meta.url), 'utf8')
  expect(unit).toMatch(/^Type=notify/m)
  // Without it systemd hears of no READY, and ends the service at TimeoutStartSec.
  expect(unit).toMatch(/^NotifyAccess=all$/m)
})

test('listens on a socket that systemd passed', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await waitFor(() => server.listening)
  const { port } = server.address() as { port: number }
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
  const args = ['start', join(FIXTURES, 'app.mjs'), '-w', '2', '--name', 'passed', '--runtime-dir', join(dir, 'run')]
  // As systemd does: the descriptor is number 3, and LISTEN_PID names the process itself.
  const child = spawnGuarded(
    'sh',
    ['-c', `LISTEN_PID=$$ LISTEN_FDS=1 exec ${process.execPath} ${cli} ${args.join(' ')}`],
    {
      stdio: ['ignore', 'pipe', 'pipe', fd],
    },
  )
  cleanups.push(() => child.kill('SIGKILL'))
  let out = ''
  child.stdout?.on('data', (chunk) => (out += chunk))
  await waitFor(() => out.includes(`ready on http://127.0.0.1:${port}`), { timeout: 30_000 })
  // Ours is closed: what answers now is the launcher.
  server.close()
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200)
  child.kill('SIGTERM')
  await waitFor(() => child.exitCode === 0, { timeout: 20_000 })
})

test.each([
  [{ LISTEN_PID: '5', LISTEN_FDS: '2' }, [3, 4]],
  [{ LISTEN_PID: '6', LISTEN_FDS: '2' }, []],
  [{ LISTEN_PID: '5' }, []],
  [{ LISTEN_PID: '5', LISTEN_FDS: 'many' }, []],
  [{}, []],
])('%j passes %j to process 5, and nothing to its children', (env, fds) => {
  const own: NodeJS.ProcessEnv = { ...env }
  expect(systemdSockets(own, 5)).toEqual(fds)
  expect(own).toEqual({})
})
