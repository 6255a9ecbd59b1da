import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { ONE_STOP } from '../src/signals.ts'
import { isAlive, waitFor } from './helpers.ts'
import { type Launcher, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(options: Parameters<typeof startLauncher>[0] = {}): Promise<Launcher & { pids: number[] }> {
  const launcher = await startLauncher(options)
  cleanups.push(() => launcher.stop('SIGKILL'))
  const { slots } = await launcher.status()
  return Object.assign(launcher, { pids: slots.flatMap(({ pid }) => (pid ? [pid] : [])) })
}

/** A request whose answer has begun; `outcome` tells how it ended. */
async function inFlight(launcher: Launcher, ms: number): Promise<{ outcome: Promise<'answered' | 'cut'> }> {
  const response = await fetch(`${launcher.url}/stream?ms=${ms}`)
  const outcome = response.text().then(
    (text) => (text === 'begin\nend\n' ? ('answered' as const) : ('cut' as const)),
    () => 'cut' as const,
  )
  return { outcome }
}

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: what is in flight is answered, nobody new is let in',
    async (signal) => {
      const launcher = await start()
      const { outcome } = await inFlight(launcher, 800)
      launcher.child.kill(signal)
      await waitFor(() => launcher.said(/stopping/).length === 1)
      await expect(fetch(launcher.url)).rejects.toThrow()
      expect(await outcome).toBe('answered')
      expect(await launcher.ended).toBe(0)
      expect(launcher.pids.filter(isAlive)).toEqual([])
    },
  )

  test('^C reaches the whole process group: workers leave it to the launcher', async () => {
    const launcher = await start()
    const { outcome } = await inFlight(launcher, 800)
    process.kill(-launcher.pid, 'SIGINT')
    expect(await outcome).toBe('answered')
    expect(await launcher.ended).toBe(0)
    expect(launcher.pids.filter(isAlive)).toEqual([])
  })

  test('one stop that comes several times, as under npx and npm start, is one', async () => {
    const launcher = await start()
    const { outcome } = await inFlight(launcher, 800)
    process.kill(-launcher.pid, 'SIGINT')
    launcher.child.kill('SIGTERM')
    expect(await outcome).toBe('answered')
    expect(await launcher.ended).toBe(0)
    expect(launcher.pids.filter(isAlive)).toEqual([])
  })

  test('a second signal, later, ends all at once', async () => {
    const launcher = await start()
    const { outcome } = await inFlight(launcher, 25_000)
    launcher.child.kill('SIGINT')
    await waitFor(() => launcher.said(/stopping/).length === 1)
    const later = performance.now() + ONE_STOP
    await waitFor(() => performance.now() > later)
    expect(launcher.child.exitCode).toBe(null)
    launcher.child.kill('SIGINT')
    expect(await launcher.ended).toBe(130)
    expect(await outcome).toBe('cut')
    await waitFor(() => !launcher.pids.some(isAlive))
  })

  test('SIGQUIT ends all at once', async () => {
    const launcher = await start()
    expect(await launcher.stop('SIGQUIT')).toBe(131)
    await waitFor(() => !launcher.pids.some(isAlive))
  })

  test('a signal while the app is still starting', async () => {
    const launcher = await startLauncher({ dontWait: true })
    cleanups.push(() => launcher.stop('SIGKILL'))
    await waitFor(() =>
      launcher.ask('ping').then(
        () => true,
        (error: { code?: string }) => error.code === 'SCALE_CLUSTER_CONTROL',
      ),
    )
    expect(await launcher.stop('SIGTERM')).toBe(143)
  })

  test('idle connections do not hold it up', async () => {
    const launcher = await start()
    const sockets = Array.from({ length: 20 }, () => connect(launcher.port, '127.0.0.1'))
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n')
    }
    await waitFor(() => sockets.every((socket) => socket.bytesRead > 0))
    const began = performance.now()
    expect(await launcher.stop()).toBe(0)
    expect(performance.now() - began).toBeLessThan(15_000)
    for (const socket of sockets) socket.destroy()
  })

  test('the command stop waits until all is done', async () => {
    const launcher = await start()
    const { code, out, err } = await launcher.cli('stop')
    expect({ code, out, err }).toEqual({ code: 0, out: 'stopped\n', err: '' })
    expect(launcher.pids.filter(isAlive)).toEqual([])
    expect(await launcher.stop()).toBe(0)
  })
})

describe('draining', () => {
  test('what is not done at the deadline is cut, counted and reported', async () => {
    const launcher = await start({ workers: '1', args: ['--drain-timeout', '1s'] })
    const { outcome } = await inFlight(launcher, 25_000)
    const result = (await launcher.ask('reload')) as { ok: boolean; cut: number; ms: number }
    expect(result).toMatchObject({ ok: true, cut: 1 })
    expect(result.ms).toBeGreaterThanOrEqual(1_000)
    expect(await outcome).toBe('cut')
    expect((await fetch(launcher.url)).status).toBe(200)
  })

  test('a worker that hangs while it drains is killed', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fs-hang-'))
    cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
    const file = join(dir, 'hangs')
    const args = ['--drain-timeout', '500ms', '--hang-timeout', '0']
    const launcher = await start({ workers: '1', args, env: { HANG_FILE: file } })
    const request = fetch(`${launcher.url}/hang`).catch(() => 'cut')
    await waitFor(() => existsSync(file))
    expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 1 })
    expect(await request).toBe('cut')
    expect((await fetch(launcher.url)).status).toBe(200)
  })

  test('a response that streams is finished by the old worker', async () => {
    const launcher = await start({ workers: '1' })
    const { outcome } = await inFlight(launcher, 1_500)
    await launcher.ask('reload')
    expect(await outcome).toBe('answered')
  })
})

describe('reload', () => {
  test.each(['SIGUSR2', 'SIGHUP'] as const)('%s reloads', async (signal) => {
    const launcher = await start()
    launcher.child.kill(signal)
    await waitFor(() => launcher.said(/reloaded 2 workers/).length === 1, { timeout: 20_000 })
    expect((await launcher.status()).slots.map(({ generation }) => generation)).toEqual([1, 1])
    expect(launcher.pids.filter(isAlive)).toEqual([])
  })

  test('many at once never overlap, and one that waits does for all', async () => {
    const launcher = await start()
    await Promise.all(Array.from({ length: 10 }, () => launcher.ask('reload')))
    const { slots } = await launcher.status()
    expect(slots.map(({ generation }) => generation)).toEqual([2, 2])
  })

  test('signals to a worker do nothing', async () => {
    const launcher = await start()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const)
      for (const pid of launcher.pids) process.kill(pid, signal)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await launcher.status()).slots.map(({ pid }) => pid)).toEqual(launcher.pids)
  })

  test('the command tells what was done', async () => {
    const launcher = await start()
    const { code, out, err } = await launcher.cli('reload')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^reloaded 2 workers in [\d.]+ m?s\n$/)
  })
})
