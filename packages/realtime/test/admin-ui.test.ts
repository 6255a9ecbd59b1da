import { instrument } from '@socket.io/admin-ui'
import { waitFor } from '@fastify-scale/dev-services'
import type { Server } from 'socket.io'
import { type Socket, io as openSocket } from 'socket.io-client'
import { describe, expect, it } from 'vitest'
import { type TestApp, collect, connect, onEnd, startApp, useRedis, verifyToken, signToken } from './support.ts'

/** bcrypt of 'changeit'. */
const PASSWORD = '$2a$04$7Il4wxuPDqW0nzWdA9gSsuI/OMgmlfiX3E1mL4TAqffUPkcyh8lMG'
const BASIC = { username: 'admin', password: 'changeit' }

interface Stats {
  serverId: string
  clientsCount: number
  pollingClientsCount: number
  namespaces: { name: string; socketsCount: number }[]
  aggregatedEvents: { type: string; count: number }[]
}

describe.each(['redis', 'redis-sharded'] as const)('the admin UI in production mode, with adapter %s', (adapter) => {
  const redis = useRedis()

  /** Two servers, each with the admin UI beside the plugin, where everybody else needs a token. */
  async function startTwo(): Promise<{ one: TestApp; two: TestApp }> {
    const channel = `admin-${Math.random()}`
    const start = (serverId: string): Promise<TestApp> =>
      startApp(
        {
          redis: redis.url,
          adapter,
          channel,
          rooms: { 'board:*': { history: 10 } },
          authenticate: ({ token }) => (token === undefined ? null : verifyToken(token)),
          openNamespaces: ['/admin'],
        },
        {
          after: (app) =>
            instrument(app.io as unknown as Server, {
              mode: 'production',
              serverId,
              auth: { type: 'basic', username: 'admin', password: PASSWORD },
            }),
        },
      )
    const [one, two] = await Promise.all([start('one'), start('two')])
    return { one, two }
  }

  /** What the page of the admin UI does: one plain Socket.IO client, by websocket. */
  function openAdmin(url: string, auth: object): { admin: Socket; stats: Stats[]; refused: string[] } {
    const admin = openSocket(`${url}/admin`, { auth, transports: ['websocket'], forceNew: true, reconnection: false })
    onEnd(() => admin.disconnect())
    const [stats, refused]: [Stats[], string[]] = [[], []]
    admin.on('server_stats', (one: Stats) => stats.push(one))
    admin.on('connect_error', (error) => refused.push(error.message))
    return { admin, stats, refused }
  }

  const token = (sub: string) => ({ getToken: async () => signToken({ sub }) })

  it('sees every server and moves sockets of all of them, and only who may', async () => {
    const { one, two } = await startTwo()
    // The namespace is open to the UI's own check, and nothing else is.
    const denied = openAdmin(one.url, { ...BASIC, password: 'wrong' })
    await waitFor(() => denied.refused.length > 0)
    expect(denied.refused).toEqual(['invalid credentials'])
    const stranger = openSocket(one.url, {
      auth: BASIC,
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
    })
    onEnd(() => stranger.disconnect())
    const refusal = await new Promise<Error>((resolve) => stranger.once('connect_error', resolve))
    expect(refusal.message).toBe('TOKEN_INVALID')

    const here = await connect(one.url, token('anna'))
    const there = await connect(two.url, token('bert'))
    const got = collect<string>(there, 'hello')
    const { admin, stats } = openAdmin(one.url, BASIC)
    const config = await new Promise<{ supportedFeatures: string[] }>((resolve) => admin.once('config', resolve))
    expect(config.supportedFeatures).toEqual(
      expect.arrayContaining([
        'EMIT',
        'JOIN',
        'LEAVE',
        'DISCONNECT',
        'MJOIN',
        'MLEAVE',
        'MDISCONNECT',
        'AGGREGATED_EVENTS',
      ]),
    )
    // In production mode every server tells its own numbers, every 2 s.
    const latest = (serverId: string): Stats | undefined => stats.findLast((one) => one.serverId === serverId)
    await waitFor(() => latest('one')?.clientsCount === 2 && latest('two')?.clientsCount === 1, { timeout: 20_000 })
    expect(latest('two')?.namespaces).toEqual(expect.arrayContaining([{ name: '/', socketsCount: 1 }]))
    expect(stats.every(({ pollingClientsCount }) => pollingClientsCount === 0)).toBe(true)
    const counted = (): string[] => stats.flatMap(({ aggregatedEvents }) => aggregatedEvents.map(({ type }) => type))
    await waitFor(
      () => ['rawConnection', 'packetsIn', 'packetsOut', 'bytesOut'].every((type) => counted().includes(type)),
      { timeout: 20_000 },
    )

    // Its commands reach the other server's sockets.
    admin.emit('join', '/', 'plain', there.id)
    const io = one.app.io as unknown as Server
    await waitFor(async () => (await io.in('plain').fetchSockets()).length === 1)
    admin.emit('emit', '/', 'plain', 'hello', 'from the admin')
    await waitFor(() => got.length === 1)
    expect(got).toEqual(['from the admin'])
    admin.emit('leave', '/', 'plain', there.id)
    await waitFor(async () => (await io.in('plain').fetchSockets()).length === 0)
    admin.emit('_disconnect', '/', false, there.id)
    await waitFor(() => !there.connected)
    expect(here.connected).toBe(true)
  })

  it('ends with the app, its socket too', async () => {
    const { one, two } = await startTwo()
    const { admin } = openAdmin(two.url, BASIC)
    await new Promise((resolve) => admin.once('config', resolve))
    const gone = new Promise((resolve) => admin.once('disconnect', resolve))
    await two.app.close()
    expect(await gone).toBe('transport close')
    await one.app.close()
    // The UI's timer, which nobody stops, goes on emitting into a server that is closed.
    ;(two.app.io as unknown as Server).of('/admin').emit('server_stats', {})
  })
})

describe('beside history', () => {
  const redis = useRedis()

  it('a room into which the admin UI puts a socket has its history messages from then on', async () => {
    const { url, app } = await startApp(
      { redis: redis.url, rooms: { 'board:*': { history: 10 } }, openNamespaces: ['/admin'] },
      { after: (instance) => instrument(instance.io as unknown as Server, { mode: 'production', auth: false }) },
    )
    const client = await connect(url)
    const got = collect<number>(client, 'n')
    const admin = openSocket(`${url}/admin`, { transports: ['websocket'], forceNew: true })
    onEnd(() => admin.disconnect())
    // It goes through Redis, to whom this server may not listen yet.
    await waitFor(() => {
      admin.emit('join', '/', 'board:7', client.id)
      return (app.io as unknown as Server).sockets.adapter.rooms.has('board:7')
    })
    const publish = app.realtime.publish as unknown as (room: string, event: string, data: number) => Promise<unknown>
    // A room that is followed from now on: its first reading says where it begins.
    let n = 0
    await waitFor(async () => {
      await publish('board:7', 'n', ++n)
      return got.length > 2
    })
    const first = got[0] as number
    await waitFor(() => got.length === n - first + 1)
    expect(got).toEqual(Array.from({ length: got.length }, (_, i) => first + i))
  })
})
