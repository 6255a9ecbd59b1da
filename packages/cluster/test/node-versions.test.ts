import { execFileSync } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from './helpers.ts'
import { type Launcher, runClient, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(options: Parameters<typeof startLauncher>[0]): Promise<Launcher> {
  const launcher = await startLauncher(options)
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

/** Kept-alive connections that have been used once. */
async function idleConnections(launcher: Launcher, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(launcher.port, '127.0.0.1'))
  for (const socket of sockets) {
    socket.on('error', () => undefined)
    cleanups.push(() => socket.destroy())
  }
  await useAll(sockets)
  return sockets
}

async function useAll(sockets: Socket[]): Promise<void> {
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          socket.once('close', () => reject(new TypeError('closed')))
          socket.once('data', (chunk) =>
            String(chunk).startsWith('HTTP/1.1 200') ? resolve() : reject(new TypeError(String(chunk))),
          )
          socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n')
        }),
    ),
  )
}

// What the launcher knows of Node's inside is checked on each version that is supported.
const own = process.versions.node.split('.')[0] as string
const versions = [...new Set([own, '20', '22', '24', '26'])]

describe.each(versions)('on Node %s', (version) => {
  let node = process.execPath
  beforeAll(() => {
    if (version === own) return
    node = execFileSync('npx', ['--yes', `node@${version}`, '-p', 'process.execPath'], {
      encoding: 'utf8',
      env: { ...process.env, npm_config_yes: 'true' },
    }).trim()
  })

  test.each(['round-robin', 'none'])(
    'idle connections outlive their workers, balance %s',
    async (balance) => {
      const launcher = await start({ node: [node], args: ['--balance', balance] })
      expect(launcher.said(/can't be handed over/)).toEqual([])
      const sockets = await idleConnections(launcher, 30)
      const result = await launcher.ask('reload')
      // Each is moved off the first worker, and some once more off the second.
      expect(result).toMatchObject({ ok: true, cut: 0, killed: 0 })
      expect((result as { moved: number }).moved).toBeGreaterThanOrEqual(30)
      await useAll(sockets)
      expect(await runClient('one', launcher.port, 300, 10)).toMatchObject({ failures: 0, hangs: 0 })
      expect(await launcher.stop()).toBe(0)
    },
    120_000,
  )

  test('connections outlive the only worker, killed', async () => {
    const launcher = await start({ node: [node], workers: '1' })
    const pid = (await launcher.status()).slots[0]?.pid as number
    process.kill(pid, 'SIGKILL')
    expect(await runClient('one', launcher.port, 200, 20)).toMatchObject({ failures: 0, hangs: 0 })
    await waitFor(async () => (await launcher.status()).slots[0]?.restarts === 1)
  }, 120_000)
})

test('on a Node whose inside is unknown it says so, and node:cluster does the work', async () => {
  const launcher = await start({ env: { FASTIFY_SCALE_PLAIN_CLUSTER: '1' } })
  expect(launcher.said(/connections can't be handed over between workers on Node v/)).toHaveLength(1)
  const load = runClient('one', launcher.port, 4_000, 10)
  // Where a worker left with a connection that it had not acknowledged, one reload in twenty had a client that hung.
  for (let i = 0; i < 4; i++) expect(await launcher.ask('reload')).toMatchObject({ ok: true, moved: 0, killed: 0 })
  expect(await load).toMatchObject({ failures: 0, hangs: 0 })
  expect(await launcher.stop()).toBe(0)
}, 120_000)
