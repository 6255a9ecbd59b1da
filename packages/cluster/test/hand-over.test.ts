import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { waitFor } from './helpers.ts'
import { startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

/** One request on a connection that stays open; which generation of worker answered it. */
async function ask(socket: Socket): Promise<number> {
  const data = once(socket, 'data')
  socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n')
  const text = String((await data)[0])
  expect(text).toMatch(/^HTTP\/1\.1 200 [^]*connection: keep-alive/i)
  return Number(/"generation":(\d+)/.exec(text)?.[1])
}

test('connections on their way to a worker that does not take them are few: the others are served, and stay', async () => {
  const launcher = await startLauncher({ workers: '1', env: { BLOCK_MS: '6000' } })
  cleanups.push(() => launcher.stop('SIGKILL'))
  const sockets = Array.from({ length: 300 }, () => connect(launcher.port, '127.0.0.1'))
  for (const socket of sockets) cleanups.push(() => socket.destroy())
  expect(new Set(await Promise.all(sockets.map(ask)))).toEqual(new Set([0]))
  await waitFor(async () => (await launcher.status()).slots[0]?.connections?.idle === 300)
  const { admin } = await launcher.status()
  const reload = launcher.ask('reload')
  await waitFor(async () => {
    const metrics = await (await fetch(`${admin}/metrics`)).text()
    return Number(/^fastify_scale_connections_moved_total (\d+)$/m.exec(metrics)?.[1]) > 0
  })
  const generations: number[] = []
  const answers = sockets.map(async (socket) => generations.push(await ask(socket)))
  await waitFor(() => generations.includes(1))
  // 64 are on their way; a few of those that were answered have followed since.
  expect(generations.filter((generation) => generation === 0).length).toBeGreaterThanOrEqual(300 - 64)
  await Promise.all(answers)
  expect(await reload).toMatchObject({ ok: true, moved: 300, cut: 0, killed: 0 })
  expect(new Set(await Promise.all(sockets.map(ask)))).toEqual(new Set([1]))
}, 60_000)
