import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { waitFor } from '@fastify-scale/dev-services'
import { runDrainSteps } from '@fastify-scale/kit'
import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { drainChannel } from '../src/index.ts'
import { startBalancer, startProcess } from './processes.ts'
import { connect, onEnd, open, startApp, useRedis } from './support.ts'

/** SOAK=1: the full figures. */
const SOCKETS = process.env['SOAK'] ? 1_000 : 300

describe('closing', () => {
  const redis = useRedis()

  async function startDeadPeers(url: string, count: number): Promise<void> {
    const child = fork(fileURLToPath(new URL('fixtures/clients.mjs', import.meta.url)), {
      env: { ...process.env, FIXTURE: JSON.stringify({ url, count }) },
    })
    onEnd(() => {
      child.kill('SIGCONT')
      child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('message', resolve))
    child.kill('SIGSTOP')
  }

  it('ends within its budget with dead peers, and clients come back elsewhere by themselves', {
    timeout: 90_000,
  }, async () => {
    const options = { rooms: { room: { history: 10 } }, channel: 'closing' }
    const [one, two] = await Promise.all([
      startProcess({ redis: redis.url, options }),
      startProcess({ redis: redis.url, options }),
    ])
    const balancer = await startBalancer()
    balancer.set([one.port])
    const clients = Array.from({ length: SOCKETS }, () => open(balancer.url))
    await waitFor(() => clients.every(({ connected }) => connected), { timeout: 60_000 })
    await startDeadPeers(one.url, 20)
    balancer.set([two.port])
    const closed = new Promise<{ ms: number; handles: string[] }>((resolve) =>
      one.child.on('message', (message: { type: string; ms: number; handles: string[] }) => {
        if (message.type === 'closed') resolve(message)
      }),
    )
    one.tell({ type: 'close' })
    const { ms, handles } = await closed
    expect(await one.exited).toBe(0)
    expect(one.errors()).toBe('')
    // 1,000 a second, 2 s for those who do not answer, and room for a busy machine.
    expect(ms).toBeLessThan(3_000 * 5)
    // Nothing but the pipes to this process.
    expect(handles.filter((handle) => handle === 'TCPSocketWrap' || handle === 'TCPServerWrap')).toEqual([])
    await waitFor(() => clients.every(({ connected }) => connected), { timeout: 60_000 })
    const { connections } = (await (await fetch(`${two.url}/memory`)).json()) as { connections: number }
    expect(connections).toBe(SOCKETS)
    if (process.env['SOAK']) process.stdout.write(`close with ${SOCKETS} sockets: ${Math.round(ms)} ms\n`)
  })

  it('refuses handshakes while draining, runs once, and may be called twice', async () => {
    const { app, url } = await startApp({ adapter: 'none' })
    const client = await connect(url)
    const reasons: string[] = []
    ;(client as never as { on(event: string, listener: (reason: string) => void): void }).on('disconnect', (reason) =>
      reasons.push(reason),
    )
    const drained = Promise.all([app.realtime.drain(), runDrainSteps(app, 5_000)])
    const status = await new Promise((resolve) => {
      const ws = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
      ws.on('unexpected-response', (_request, { statusCode, headers }) => resolve([statusCode, headers['retry-after']]))
      ws.on('error', () => undefined)
    })
    expect(status).toEqual([503, '1'])
    const [, steps] = await drained
    expect(steps).toMatchObject([{ name: 'realtime: sockets', ok: true }])
    // Not 'io server disconnect', from which no client comes back.
    await waitFor(() => reasons.length === 1)
    expect(reasons).toEqual(['transport close'])
    expect(app.realtime.stats()).toMatchObject({ connections: 0, draining: true })
    await Promise.all([app.close(), app.close()])
  })

  it('cuts a peer that does not answer, and says so', async () => {
    const { app, url } = await startApp({ adapter: 'none', drain: { stragglers: '200ms' } })
    const drained = new Promise((resolve) => onEnd(drainChannel.subscribe(resolve)))
    const dead = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    onEnd(() => dead.terminate())
    await new Promise((resolve) => dead.once('open', resolve))
    await waitFor(() => app.realtime.stats().connections === 1)
    dead.pause()
    await connect(url)
    await app.realtime.drain()
    expect(await drained).toMatchObject({ closed: 1, cut: 1 })
    await waitFor(
      () => new Promise<boolean>((resolve) => app.server.getConnections((_error, count) => resolve(count === 0))),
    )
  })

  it('finds dead peers while it still spreads the others, so that they add no time', async () => {
    const { app, url } = await startApp({ adapter: 'none', drain: { rate: 10, stragglers: '200ms' } })
    const dead = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    onEnd(() => dead.terminate())
    await new Promise((resolve) => dead.once('open', resolve))
    await waitFor(() => app.realtime.stats().connections === 1)
    const gone = new Promise<number>((resolve) =>
      Object.values((app.io.engine as never as { clients: Record<string, NodeJS.EventEmitter> }).clients)[0]?.once(
        'close',
        () => resolve(app.realtime.stats().connections),
      ),
    )
    dead.pause()
    const others = await Promise.all(Array.from({ length: 30 }, () => connect(url)))
    const drained = app.realtime.drain(20_000)
    expect(await gone).toBeGreaterThan(5)
    await drained
    expect(others.some(({ connected }) => connected)).toBe(false)
  })

  it('leaves no timer, socket or listener in the process, with Redis away too', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => !name.startsWith('Pipe')).length
    for (const url of [redis.url, 'redis://127.0.0.1:1']) {
      const { app, url: server } = await startApp({ redis: url, rooms: { room: { history: 5 } } })
      const client = await connect(server)
      if (url === redis.url) await client.join('room')
      client.disconnect()
      await app.close()
    }
    const now = (): number => process.getActiveResourcesInfo().filter((name) => !name.startsWith('Pipe')).length
    await waitFor(() => now() <= before)
    expect(now()).toBeLessThanOrEqual(before)
  })

  it('lives beside @fastify/websocket, with a hook for every request', async () => {
    const seen: string[] = []
    const { app, url } = await startApp(
      { adapter: 'none' },
      {
        before: async (instance: FastifyInstance) => {
          await instance.register(fastifyWebsocket)
          instance.addHook('onRequest', async (request, reply) => {
            seen.push(request.url)
            // It would land in the middle of our websocket.
            if (request.url.startsWith('/socket.io')) await reply.code(401).send('no')
          })
          await instance.register(async (scope) => {
            const echo = (socket: WebSocket): void =>
              void socket.on('message', (data: Buffer) => socket.send(data.toString()))
            scope.get('/echo', { websocket: true } as object, echo as never)
          })
        },
      },
    )
    const client = await connect(url)
    const ws = new WebSocket(`${url.replace('http', 'ws')}/echo`)
    onEnd(() => ws.terminate())
    ws.on('open', () => ws.send('hello'))
    expect(await new Promise((resolve) => ws.once('message', (data: Buffer) => resolve(data.toString())))).toBe('hello')
    expect(client.connected).toBe(true)
    expect(seen).toEqual(['/echo'])
    await app.close()
  })
})
