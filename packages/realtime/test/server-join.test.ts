import { waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { collect, connect, once, publish, startApp, useRedis } from './support.ts'

describe('a history room that the server lets sockets join', () => {
  const redis = useRedis()
  let count = 0

  /** An app that lets every socket join `board`, and a client of it; `joins` counts. */
  async function start(by: 'app.realtime.join()' | 'socket.join()' = 'app.realtime.join()') {
    const state = { joins: 0, until: Promise.resolve() }
    const { app, url } = await startApp(
      {
        redis: redis.url,
        rooms: { board: { history: 100, ttl: '1m' } },
        prefix: `server-join-${process.pid}-${++count}:`,
        checkInterval: '200ms',
      },
      {
        after: (instance) =>
          instance.io.on('connection', async (socket) => {
            await state.until
            if (by === 'socket.join()') await socket.join('board')
            else await instance.realtime.join(socket, 'board')
            state.joins++
          }),
      },
    )
    const send = (n: number) => publish(app, 'board', 'n', n)
    const client = await connect(url, { socket: { reconnectionDelay: 1, randomizationFactor: 0 } })
    const got = collect<number>(client, 'n')
    const resyncs: string[] = []
    client.onResync((room) => resyncs.push(room))
    const witness = collect<number>(await connect(url), 'n')
    await waitFor(() => state.joins === 2)
    /**
     * Loses the connection; the messages come, to whoever is in the room, before the server lets the client join again.
     */
    async function lose(...messages: number[]): Promise<void> {
      const { joins } = state
      let go = (): void => undefined
      state.until = new Promise((resolve) => (go = resolve))
      const back = once(client, 'connect')
      client.io.engine.close()
      for (const n of messages) await send(n)
      await waitFor(() => messages.every((n) => witness.includes(n)))
      await back
      go()
      await waitFor(() => state.joins > joins)
    }
    return { client, got, resyncs, lose, send }
  }

  it('tells a client that is back that it missed something, though the room is quiet, and goes on', async () => {
    const { got, resyncs, lose, send } = await start()
    for (const n of [1, 2, 3]) await send(n)
    await waitFor(() => got.length === 3)
    await lose(4, 5, 6)
    await waitFor(() => resyncs.length === 1)
    for (const n of [7, 8]) await send(n)
    await waitFor(() => got.length === 5)
    expect(got).toEqual([1, 2, 3, 7, 8])
    expect(resyncs).toEqual(['board'])
  })

  it('tells one too that had no message yet, and none that missed nothing', async () => {
    const { client, got, resyncs, lose, send } = await start()
    // A client that was never told that it is in the room has missed nothing of it.
    await waitFor(() => client.position('board')?.seq === 0)
    await lose()
    await lose(1)
    await waitFor(() => resyncs.length === 1)
    await send(2)
    await waitFor(() => got.length === 1)
    await lose()
    await send(3)
    await waitFor(() => got.length === 2)
    expect(got).toEqual([2, 3])
    expect(resyncs).toEqual(['board'])
  })

  it("tells of a hole with the next message where it was Socket.IO's own join", async () => {
    const { client, got, resyncs, lose, send } = await start('socket.join()')
    // It does not wait until this process hears of the room.
    let before = 0
    await waitFor(async () => {
      before++
      await send(0)
      return got.length > 0
    })
    await send(1)
    await waitFor(() => got.includes(1))
    got.splice(0, got.length, 1)
    await lose(2)
    for (const n of [3, 4]) await send(n)
    await waitFor(() => got.length === 3)
    expect(got).toEqual([1, 3, 4])
    expect(resyncs).toEqual(['board'])
    expect(client.position('board')?.seq).toBe(before + 4)
  })

  it('tells once that Redis has lost its data', async () => {
    const { client, got, resyncs, send } = await start()
    await send(1)
    await waitFor(() => got.length === 1)
    const admin = new Redis(redis.url)
    await admin.flushall()
    admin.disconnect()
    const { epoch } = await send(2)
    await waitFor(() => got.includes(2))
    await send(3)
    await waitFor(() => got.includes(3))
    expect(got).toEqual([1, 2, 3])
    expect(resyncs).toEqual(['board'])
    expect(client.position('board')).toEqual({ epoch, seq: 2 })
  })
})
