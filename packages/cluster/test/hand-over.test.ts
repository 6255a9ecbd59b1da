import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import Fastify from 'fastify'
import { afterEach, expect, test } from 'vitest'
import type { ToWorker } from '../src/protocol.ts'
import type { WorkerChannel } from '../src/worker/channel.ts'
import { trackConnections } from '../src/worker/connections.ts'
import { drain } from '../src/worker/drain.ts'
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

test('a connection that is never idle is told to end when the idle ones have left', async () => {
  const app = Fastify()
  const connections = trackConnections(app.server)
  // Answered when the next one comes: with two requests sent ahead there is always one left to answer.
  let release: (text: string) => void = () => undefined
  app.get('/', () => {
    release('ok')
    return new Promise<string>((resolve) => (release = resolve))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  // As many as may be on their way at a time, and one behind them that is asked all the time.
  const sockets = Array.from({ length: 65 }, () => connect(port, '127.0.0.1'))
  for (const socket of sockets) {
    cleanups.push(() => socket.destroy())
    // Those that are given to nobody here end.
    socket.on('error', () => undefined).resume()
  }
  await waitFor(() => connections.size === 65)
  let given = 0
  const listeners: ((message: ToWorker, handle: undefined) => void)[] = []
  const channel = {
    send: async () => (given += 1) > 0,
    on: (listener: (typeof listeners)[number]) => void listeners.push(listener),
  } as unknown as WorkerChannel
  const drained = drain(app, connections, channel, { handOver: true, budget: 60_000, paced: true })
  await waitFor(() => sockets.filter(({ closed }) => closed).length === 64)
  const busy = sockets.find(({ closed }) => !closed) as Socket
  const get = 'GET / HTTP/1.1\r\nHost: test\r\n\r\n'
  let answers = 0
  let text = ''
  const closed = new Promise((resolve) => busy.once('close', resolve))
  busy.on('data', (chunk) => {
    text += chunk
    answers = text.split('HTTP/1.1 200').length - 1
    if (answers === 10) for (let i = 0; i < 64; i++) for (const tell of listeners) tell({ t: 'taken' }, undefined)
    if (!/connection: close/i.test(text)) busy.write(get)
  })
  busy.write(get + get)
  // Nobody comes after the last: the test answers it.
  const last = setInterval(() => {
    if (answers >= 10 + 33) release('ok')
  }, 20)
  await closed
  clearInterval(last)
  expect(text).toMatch(/connection: close/i)
  expect(answers).toBeLessThan(60)
  expect(await drained).toMatchObject({ cut: 0 })
}, 30_000)
