import { io as plainClient } from 'socket.io-client'
import { describe, expect, it } from 'vitest'
import { waitFor } from '@fastify-scale/dev-services'
import type { FastifyInstance } from 'fastify'
import type { Server, Socket } from 'socket.io'
import type { Position } from '../src/index.ts'
import { collect, connect, onEnd, once, publish, startApp, useRedis } from './support.ts'

describe('a room that is left', () => {
  const redis = useRedis()
  let count = 0

  const start = (options: Parameters<typeof startApp>[0] = {}) =>
    startApp({
      adapter: 'none',
      redis: redis.url,
      prefix: `leave-${process.pid}-${++count}:`,
      rooms: { 'board:*': { history: 100, ttl: '1m' } },
      ...options,
    })

  const socketsOf = (app: FastifyInstance): Socket[] => [...(app.io as never as Server).sockets.sockets.values()]

  /** A client that speaks the protocol itself, and its socket at the server. */
  async function plain(app: FastifyInstance, url: string) {
    const client = plainClient(url, { transports: ['websocket'], forceNew: true })
    onEnd(() => client.disconnect())
    await new Promise<void>((resolve) => client.on('connect', () => resolve()))
    return {
      join: (...rooms: string[]) =>
        client.emitWithAck(
          'realtime:join',
          rooms.map((room) => ({ room })),
        ),
      leave: (...rooms: string[]) => client.emitWithAck('realtime:leave', rooms),
      rooms: () =>
        [...(socketsOf(app).find(({ id }) => id === client.id)?.rooms ?? [])].filter((room) => room !== client.id),
    }
  }

  it('is not joined by what was asked before, and takes no place', async () => {
    const { app, url } = await start({ limits: { rooms: 2 } })
    const { join, leave, rooms } = await plain(app, url)
    redis.current.freeze()
    onEnd(() => redis.current.thaw())
    const left = join('board:1', 'board:2')
    await waitFor(() => app.realtime.stats().rooms === 2)
    await leave('board:1', 'board:2')
    const others = join('board:3', 'board:4')
    redis.current.thaw()
    const unavailable = { ok: false, code: 'UNAVAILABLE' }
    expect(await left).toEqual([unavailable, unavailable])
    expect(await others).toMatchObject([{ ok: true }, { ok: true }])
    expect(rooms()).toEqual(['board:3', 'board:4'])
    expect(await app.realtime.presence('board:1')).toEqual([])
  })

  it('may be joined anew before that has come to its end', async () => {
    const { app, url } = await start()
    const { join, leave, rooms } = await plain(app, url)
    redis.current.freeze()
    onEnd(() => redis.current.thaw())
    const first = join('board:1')
    await waitFor(() => app.realtime.stats().rooms === 1)
    await leave('board:1')
    const again = join('board:1')
    redis.current.thaw()
    expect([await first, await again]).toMatchObject([[{ ok: false, code: 'UNAVAILABLE' }], [{ ok: true }]])
    expect(rooms()).toEqual(['board:1'])
  })

  it('by the server, where a newer join was denied, is not joined by an older one', async () => {
    let allowed = true
    const { app, url } = await start({ authorizeRoom: () => allowed })
    const { join, rooms } = await plain(app, url)
    redis.current.freeze()
    onEnd(() => redis.current.thaw())
    const older = join('board:1')
    allowed = await waitFor(() => app.realtime.stats().rooms === 1).then(() => false)
    expect(await join('board:1')).toEqual([{ ok: false, code: 'DENIED' }])
    redis.current.thaw()
    expect(await older).toEqual([{ ok: false, code: 'UNAVAILABLE' }])
    expect(rooms()).toEqual([])
  })

  it('sends the listeners nothing that was on its way, and leaves no position behind', async () => {
    const { app, url } = await start()
    const client = await connect(url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    const { epoch } = await publish(app, 'board:1', 'n', 1)
    await waitFor(() => got.length === 1)
    const [socket] = socketsOf(app)
    const send = (seq: number, room = 'board:1') =>
      socket?.emit('n', seq, { $rt: 1, room, epoch: epoch as string, seq } satisfies Position)
    const marker = async (): Promise<void> => {
      const seen = once(client, 'marker')
      socket?.emit('marker')
      await seen
    }
    // Left, and at once joined again, while the second and the third message are on their way.
    client.leave('board:1')
    send(2)
    send(3)
    const again = client.join('board:1')
    await again
    await marker()
    expect(got).toEqual([1])
    expect(client.position('board:1')).toEqual({ epoch, seq: 1 })
    // Published, so the second of the room.
    await publish(app, 'board:1', 'n', 2)
    await waitFor(() => got.length === 2)

    client.leave('board:1')
    send(3)
    await waitFor(() => !socket?.rooms.has('board:1'))
    await marker()
    expect(got).toEqual([1, 2])
    expect(client.position('board:1')).toBeUndefined()
    // The server may let it join all the same.
    await app.realtime.join(socket as never, 'board:1')
    await publish(app, 'board:1', 'n', 3)
    await waitFor(() => got.length === 3)
  })

  it('and joined again is joined when the answer to that has come, not to an older question', async () => {
    const open: ((allowed: boolean) => void)[] = []
    let again: Promise<void> | undefined
    let settled = false
    const { app, url } = await start({
      authorizeRoom() {
        if (again) return new Promise<boolean>((resolve) => open.push(resolve))
        // The answer to this first one is sent before the server hears of what follows.
        client.leave('board:1')
        again = client.join('board:1').then(() => void (settled = true))
        return true
      },
    })
    // Followed already: Redis need not be asked.
    const socketOf = async (): Promise<Socket> => waitFor(() => socketsOf(app)[0])
    const client = await connect(url)
    await app.realtime.join((await socketOf()) as never, 'board:1')
    void client.join('board:1')
    await waitFor(() => open.length === 1)
    const seen = once(client, 'marker')
    ;(await socketOf()).emit('marker')
    await seen
    expect(settled).toBe(false)
    open[0]?.(true)
    await again
    expect(client.joined()).toEqual(['board:1'])
  })
})
