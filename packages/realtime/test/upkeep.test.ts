import { waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import { describe, expect, it } from 'vitest'
import {
  type TestClient,
  collect,
  connect,
  onEnd,
  once,
  open,
  publish,
  signToken,
  startApp,
  useRedis,
  verifyToken,
} from './support.ts'

interface Emitter {
  emitReserved(event: string, ...args: unknown[]): unknown
}

/** Breaks the connection of every client. */
async function cut(app: FastifyInstance, client: TestClient): Promise<void> {
  const gone = once(client, 'disconnect')
  for (const { conn } of app.io.sockets.sockets.values()) conn.close()
  await gone
}

describe('a client', () => {
  const redis = useRedis()
  let count = 0
  const withHistory = () => ({
    adapter: 'none' as const,
    redis: redis.url,
    prefix: `upkeep-${process.pid}-${++count}:`,
    rooms: { 'board:*': { history: 2 } },
  })

  it.each([
    ['all listeners', (client: TestClient) => client.off()],
    [
      'those of single events',
      (client: TestClient) => {
        for (const event of ['connect', 'disconnect', 'connect_error', 'realtime:token-expiring', 'realtime:close'])
          client.off(event)
      },
    ],
  ])('is kept up where a page takes away %s', async (_name, takeAway) => {
    const reasons: string[] = []
    const { app, url } = await startApp({
      ...withHistory(),
      tokenWarning: '2s',
      authenticate: ({ token = '' }) => verifyToken(token),
    })
    const client = await connect(url, {
      getToken: (reason) => {
        reasons.push(reason)
        return signToken({ sub: 'ann', exp: Date.now() / 1_000 + (reason === 'expiring' ? 60 : 3) })
      },
    })
    await client.join('board:1')
    await client.join('plain')
    takeAway(client)
    await waitFor(() => reasons.includes('expiring'))
    await cut(app, client).catch(() => undefined)
    await waitFor(() => client.connected)
    const got = collect<number>(client, 'n')
    await waitFor(() => ['board:1', 'plain'].every((room) => app.io.sockets.adapter.rooms.has(room)))
    await publish(app, 'plain', 'n', 1)
    await publish(app, 'board:1', 'n', 2)
    await waitFor(() => got.length === 2)
    app.realtime.disconnect({ sub: 'ann' })
    expect(await new Promise((resolve) => client.onEnded(resolve))).toBe('DISCONNECTED')
  })

  it('hears of what it may have missed when it is back in its rooms, so that what it loads is whole', async () => {
    const asked: ((allowed: boolean) => void)[] = []
    let slow = false
    const { app, url } = await startApp({
      adapter: 'none',
      authorizeRoom: () => !slow || new Promise<boolean>((resolve) => asked.push(resolve)),
    })
    const client = await connect(url)
    await client.join('plain')
    let gaps = 0
    client.onGap(() => gaps++)
    slow = true
    await cut(app, client)
    await waitFor(() => asked.length === 1)
    // What is sent now reaches nobody.
    const marker = once(client, 'marker')
    await publish(app, client.id as string, 'marker')
    await marker
    expect(gaps).toBe(0)
    asked[0]?.(true)
    await waitFor(() => gaps === 1)
    expect(app.io.sockets.adapter.rooms.has('plain')).toBe(true)
    // Of what came while a room could not be joined it hears, too.
    let failed = false
    slow = false
    app.io.use((socket, next) => {
      const { onevent } = socket as never as { onevent: (packet: { data: unknown[] }) => void }
      Object.assign(socket, {
        onevent: (packet: { data: unknown[]; id?: number }) => {
          if (packet.data[0] !== 'realtime:join' || failed) return onevent.call(socket, packet)
          failed = true
          ;(socket as never as { ack(id: unknown): (reply: unknown) => void }).ack(packet.id)([
            { ok: false, code: 'UNAVAILABLE' },
          ])
        },
      })
      next()
    })
    await cut(app, client)
    await waitFor(() => gaps === 3)
    expect(app.io.sockets.adapter.rooms.has('plain')).toBe(true)
  })

  it('hears of it at once where it has joined no rooms, and never at its first connection', async () => {
    const { app, url } = await startApp({ adapter: 'none' })
    const client = open(url)
    let gaps = 0
    client.onGap(() => gaps++)
    await once(client, 'connect')
    await client.join('plain')
    client.leave('plain')
    expect(gaps).toBe(0)
    await cut(app, client)
    await once(client, 'connect')
    expect(gaps).toBe(1)
  })

  it('goes on where a listener throws', async () => {
    const thrown: unknown[] = []
    // Vitest's own would end the run.
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error: Error) => thrown.push(error.message))
    onEnd(() => {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    })
    const { app, url } = await startApp(withHistory())
    const client = await connect(url, { socket: { reconnection: false } })
    await Promise.all(['board:1', 'board:2'].map((room) => client.join(room)))
    await publish(app, 'board:1', 'n', 0)
    const [resynced, gaps]: string[][] = [[], []]
    client.onResync(() => {
      throw new Error('resync')
    })
    client.onResync((room) => resynced?.push(room))
    client.onGap(() => {
      throw new Error('gap')
    })
    client.onGap(() => gaps?.push('gap'))
    await cut(app, client)
    // More than a process has in memory.
    await Promise.all(Array.from({ length: 110 }, (_, n) => publish(app, 'board:1', 'n', n)))
    const joined = new Promise<void>((resolve, reject) => {
      client.on('connect', () => void client.join('board:3').then(resolve, reject))
    })
    client.connect()
    await joined
    await waitFor(() => thrown.length === 2)
    expect([resynced, gaps, thrown.toSorted()]).toEqual([['board:1'], ['gap'], ['gap', 'resync']])
  })

  it('hears that a room is denied that it was in, also where somebody joins it anew meanwhile', async () => {
    let allowed = true
    const { app, url } = await startApp({ adapter: 'none', authorizeRoom: () => allowed })
    const client = await connect(url)
    await client.join('board')
    const denied: string[] = []
    client.onDenied((room, code) => denied.push(`${room} ${code}`))
    allowed = false
    await cut(app, client)
    await expect(client.join('board')).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_DENIED' })
    expect(denied).toEqual(['board DENIED'])
    await expect(client.join('board')).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_DENIED' })
    expect(denied).toHaveLength(1)
  })

  it('that shows a cookie comes back with a newer one when its token has ended, and is told where there is none', async () => {
    const { app, url } = await startApp({
      adapter: 'none',
      authenticate: ({ headers }) => verifyToken(headers.cookie ?? ''),
    })
    const extraHeaders = { cookie: signToken({ sub: 'ann', exp: Date.now() / 1_000 + 1 }) }
    const client = await connect(url, { socket: { extraHeaders } })
    let code: string | undefined
    client.onEnded((ended) => (code = ended))
    const first = client.id
    // As the page's requests renew it.
    extraHeaders.cookie = signToken({ sub: 'ann', exp: Date.now() / 1_000 + 2 })
    await waitFor(() => client.connected && client.id !== first)
    expect(code).toBeUndefined()
    await waitFor(() => code === 'TOKEN_EXPIRED')
    expect([client.active, app.io.sockets.sockets.size]).toEqual([false, 0])
  })

  it('is told that it is refused where a middleware says so without a code', async () => {
    const { app, url } = await startApp({ adapter: 'none' })
    app.io.use((_socket, next) => next(new Error('closed for today')))
    const client = open(url)
    const errors: string[] = []
    client.on('connect_error', ({ message }: Error) => errors.push(message))
    expect(await new Promise((resolve) => client.onEnded(resolve))).toBe('REFUSED')
    await waitFor(() => errors.length === 1)
    expect([errors, client.active]).toEqual([['closed for today'], false])
    const nowhere = open(`${url}/nowhere`)
    expect(await new Promise((resolve) => nowhere.onEnded(resolve))).toBe('REFUSED')
  })

  it('sends a token that was asked for before its connection broke on no other', async () => {
    const { app, url } = await startApp({
      adapter: 'none',
      // As long as it takes for both to be under way.
      authenticate: async ({ token = '' }) => {
        seen.push(token)
        if (token === 'old') await waitFor(() => seen.length === 2)
        return { sub: token }
      },
    })
    const seen: string[] = []
    const tokens: ((token: string) => void)[] = []
    const client = open(url, { getToken: () => new Promise((resolve) => tokens.push(resolve)) })
    await waitFor(() => tokens.length === 1)
    client.io.on('reconnect_attempt', () => queueMicrotask(() => tokens[0]?.('old')))
    client.io.engine.close()
    ;(client.io.engine as unknown as Emitter).emitReserved('close', 'transport close')
    await waitFor(() => tokens.length === 2)
    tokens[1]?.('new')
    await waitFor(() => client.connected)
    await client.join('after whatever it had sent')
    expect([seen, app.io.sockets.sockets.size]).toEqual([['new'], 1])
  })
})
