import { waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { io as plainClient } from 'socket.io-client'
import type { Position } from '../src/index.ts'
import { collect, connect, onEnd, open, publish, startApp, useRedis } from './support.ts'

describe('history rooms', () => {
  const redis = useRedis()
  let count = 0

  async function startTwo(rooms = { 'board:*': { history: 500, ttl: '1m' } }, checkInterval = '1h') {
    const options = { redis: redis.url, rooms, prefix: `test-${process.pid}-${++count}:`, checkInterval }
    const [one, two] = await Promise.all([startApp(options), startApp(options)])
    return { one, two, prefix: options.prefix }
  }

  function admin(): Redis {
    const client = new Redis(redis.url)
    onEnd(() => client.disconnect())
    return client
  }

  const upTo = (n: number, from = 1): number[] => Array.from({ length: n - from + 1 }, (_, i) => from + i)

  it('give every client of every process all messages, once, in one order', async () => {
    const { one, two } = await startTwo()
    const clients = await Promise.all([connect(one.url), connect(two.url), connect(two.url)])
    const got = clients.map((client) => collect<number>(client, 'n'))
    await Promise.all(clients.map((client) => client.join('board:1')))
    // Not awaited one by one, and from two processes: each keeps the order of its calls.
    const results = await Promise.all(upTo(300).map((n) => publish(n % 2 ? one.app : two.app, 'board:1', 'n', n)))
    await waitFor(() => got.every((list) => list.length === 300))
    expect(new Set(results.map(({ seq }) => seq)).size).toBe(300)
    expect(got[1]).toEqual(got[0])
    expect(got[2]).toEqual(got[0])
    expect(got[0]?.filter((n) => n % 2)).toEqual(upTo(300).filter((n) => n % 2))
    expect(got[0]?.filter((n) => n % 2 === 0)).toEqual(upTo(300).filter((n) => n % 2 === 0))
    expect(clients[0]?.position('board:1')).toEqual({ epoch: results[0]?.epoch, seq: 300 })
  })

  it('send a client that was away what it missed, from memory or from the log', async () => {
    const { one, two } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    const resyncs: string[] = []
    client.onResync((room) => resyncs.push(room))
    await client.join('board:1')
    for (const n of upTo(5)) await publish(two.app, 'board:1', 'n', n)
    await waitFor(() => got.length === 5)
    // More than is kept in memory, so it comes from the log.
    client.disconnect()
    await Promise.all(upTo(300, 6).map((n) => publish(two.app, 'board:1', 'n', n)))
    client.connect()
    await waitFor(() => got.length === 300)
    // Less: the process still has it.
    client.disconnect()
    await Promise.all(upTo(310, 301).map((n) => publish(two.app, 'board:1', 'n', n)))
    client.connect()
    await waitFor(() => got.length === 310)
    expect(got).toEqual(upTo(310))
    expect(resyncs).toEqual([])
  })

  it('lose nothing to messages that come while a client resumes', async () => {
    const { one, two } = await startTwo({ 'board:*': { history: 20_000, ttl: '1m' } })
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    // A plain client, which drops nothing by itself: it is sent nothing twice either.
    const plain = plainClient(one.url, { transports: ['websocket'], forceNew: true, reconnectionDelay: 100 })
    onEnd(() => plain.disconnect())
    let at: Position | undefined
    const seen: number[] = []
    plain.on('n', (_n, position: Position) => {
      at = position
      seen.push(position.seq)
    })
    plain.on('connect', () =>
      plain.emit('realtime:join', [{ room: 'board:1', epoch: at?.epoch, seq: at?.seq }], () => 0),
    )
    let last = 0
    let running = true
    const publishing = (async () => {
      while (running) {
        await Promise.all(upTo(last + 20, last + 1).map((n) => publish(two.app, 'board:1', 'n', (last = n))))
        // Never further ahead of the readers than the history reaches back: that would be a resync.
        await waitFor(() => !running || (last - got.length < 5_000 && last - seen.length < 5_000))
      }
    })()
    for (let i = 0; i < 5; i++) {
      const before = got.length
      await waitFor(() => got.length > before + 100)
      client.io.engine.close()
      plain.io.engine.close()
      await waitFor(() => client.connected)
    }
    running = false
    await publishing
    await waitFor(() => got.length >= last && at?.seq === last)
    expect(got).toEqual(upTo(last))
    expect(seen).toEqual(upTo(last, seen[0]))
  })

  it('are kept in order by the client, too, whatever it is sent', async () => {
    const { one } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    const { epoch } = await publish(one.app, 'board:1', 'n', 1)
    await waitFor(() => got.length === 1)
    const [socket] = [...(one.app.io as never as import('socket.io').Server).sockets.sockets.values()]
    const at = (seq: number): Position => ({ $rt: 1, room: 'board:1', epoch: epoch as string, seq })
    socket?.emit('n', 1, at(1))
    // A hole: it asks for what is missing, and gets it from the log.
    await socket?.leave('board:1')
    await publish(one.app, 'board:1', 'n', 2)
    const third = publish(one.app, 'board:1', 'n', 3)
    socket?.emit('n', 3, at(3))
    await third
    await waitFor(() => got.length >= 3)
    expect(got).toEqual([1, 2, 3])
  })

  it('tell a client once when the history is shorter than its absence, and go on', async () => {
    const { one, two } = await startTwo({ 'board:*': { history: 10, ttl: '1m' } })
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    const resyncs: string[] = []
    client.onResync((room) => resyncs.push(room))
    await client.join('board:1')
    await publish(two.app, 'board:1', 'n', 1)
    await waitFor(() => got.length === 1)
    // Both processes have to forget, too: one of them still has the last hundred in memory.
    client.disconnect()
    await Promise.all(upTo(300, 2).map((n) => publish(two.app, 'board:1', 'n', n)))
    client.connect()
    await waitFor(() => resyncs.length === 1)
    await publish(two.app, 'board:1', 'n', 301)
    await waitFor(() => got.includes(301))
    expect(got).toEqual([1, 301])
    expect(resyncs).toEqual(['board:1'])
  })

  it('fill what a process missed while its subscription was gone', async () => {
    const { one, two } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    const control = admin()
    for (const n of upTo(50)) {
      // Every tenth message finds all subscriptions broken.
      if (n % 10 === 0) await control.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await publish(two.app, 'board:1', 'n', n)
    }
    await waitFor(() => got.length === 50)
    expect(got).toEqual(upTo(50))
  })

  it('notice within seconds a subscription that was lost without a sign', async () => {
    const { one, two, prefix } = await startTwo(undefined, '300ms')
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    await publish(two.app, 'board:1', 'n', 1)
    await waitFor(() => got.length === 1)
    // Stored and not published, as if the message had been lost on its way.
    const control = admin()
    const key = `${prefix}v1:{board:1}`
    await control.xadd(`${key}:log`, '2-0', 'm', JSON.stringify(['n', 2]))
    await control.hset(`${key}:meta`, 'seq', 2)
    await waitFor(() => got.length === 2, { timeout: 5_000 })
    expect(got).toEqual([1, 2])
  })

  it('say once that Redis has lost its data, and number anew', async () => {
    const { one, two } = await startTwo()
    const clients = await Promise.all([connect(one.url), connect(two.url)])
    const got = clients.map((client) => collect<number>(client, 'n'))
    const resyncs = clients.map((client) => {
      const rooms: string[] = []
      client.onResync((room) => rooms.push(room))
      return rooms
    })
    await Promise.all(clients.map((client) => client.join('board:1')))
    const before = await publish(one.app, 'board:1', 'n', 1)
    await waitFor(() => got.every((list) => list.length === 1))
    await admin().flushall()
    const after = await publish(one.app, 'board:1', 'n', 2)
    expect(after.epoch).not.toBe(before.epoch)
    await publish(two.app, 'board:1', 'n', 3)
    await waitFor(() => got.every((list) => list.includes(3)))
    expect(resyncs).toEqual([['board:1'], ['board:1']])
    expect(got).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
  })

  it('notice an older state of the data (a snapshot, a replica that lagged)', async () => {
    const { one, two, prefix } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    const resyncs: string[] = []
    client.onResync((room) => resyncs.push(room))
    await client.join('board:1')
    for (const n of upTo(20)) await publish(two.app, 'board:1', 'n', n)
    await waitFor(() => got.length === 20)
    const control = admin()
    const key = `${prefix}v1:{board:1}`
    await control.hset(`${key}:meta`, 'seq', 12)
    await control.xtrim(`${key}:log`, 'MAXLEN', 0)
    for (const n of upTo(22, 21)) await publish(one.app, 'board:1', 'n', n)
    await waitFor(() => got.includes(22))
    expect(got).toEqual(upTo(22))
    expect(resyncs).toEqual(['board:1'])
  })

  it('take in sockets that the server lets join, by either way', async () => {
    const { one, two } = await startTwo()
    const [client, other] = await Promise.all([connect(one.url), connect(one.url)])
    const got = [client, other].map((each) => collect<number>(each, 'n'))
    const socketOf = (id: string | undefined) => [...one.app.io.sockets.sockets.values()].find((each) => each.id === id)
    await one.app.realtime.join(socketOf(client.id) as never, 'board:1')
    await publish(two.app, 'board:1', 'n', 1)
    await waitFor(() => got[0]?.length === 1)
    await socketOf(other.id)?.join('board:1')
    await publish(two.app, 'board:1', 'n', 2)
    await waitFor(() => got[1]?.length === 1)
    expect(got).toEqual([[1, 2], [2]])
    expect(one.app.realtime.stats()).toMatchObject({ rooms: 1, connections: 2 })
    await startApp({ adapter: 'none' }).then(async ({ app }) =>
      expect(app.realtime.presence('board:1')).rejects.toMatchObject({ code: 'SCALE_REALTIME_ROOM_OPTION' }),
    )
  })

  it('store a message once for each idempotency key, from any process', async () => {
    const { one, two } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    const results = await Promise.all([
      publish(one.app, 'board:1', 'n', 1, { id: 'order-7' }),
      publish(two.app, 'board:1', 'n', 1, { id: 'order-7' }),
      publish(one.app, 'board:1', 'n', 1, { id: 'order-7' }),
    ])
    await publish(two.app, 'board:1', 'n', 2)
    await waitFor(() => got.includes(2))
    expect(got).toEqual([1, 2])
    expect(results.map(({ seq }) => seq)).toEqual([1, 1, 1])
    expect(results.filter(({ duplicate }) => duplicate)).toHaveLength(2)
  })

  it('confirm each message once while Redis stops answering and loses answers', async () => {
    const { one, two } = await startTwo()
    const client = await connect(one.url)
    const got = collect<number>(client, 'n')
    await client.join('board:1')
    const publishing = Promise.all(upTo(200).map(async (n) => publish(two.app, 'board:1', 'n', n)))
    // Longer than one attempt may take: it is made again, and the first one runs as well.
    redis.current.freeze()
    setTimeout(() => redis.current.thaw(), 2_500)
    await publishing
    await waitFor(() => got.length >= 200)
    expect(got).toEqual(upTo(200))
  })

  it('refuse what can not be kept, and a message whose time is over', async () => {
    const { one } = await startTwo()
    const circular: { self?: unknown } = {}
    circular.self = circular
    for (const data of [Buffer.from('x'), { deep: [new Uint8Array(1)] }, circular, 1n])
      await expect(publish(one.app, 'board:1', 'n', data)).rejects.toMatchObject({
        code: 'SCALE_REALTIME_PUBLISH_INVALID',
      })
    for (const [room, event] of [
      ['', 'n'],
      ['board:1', ''],
      ['board:1', 'connect'],
      ['board:1', 'realtime:join'],
      [7, 'n'],
    ])
      await expect(publish(one.app, room as string, event as string, 1)).rejects.toMatchObject({
        code: 'SCALE_REALTIME_PUBLISH_INVALID',
      })
    // Each would be the key of every message that has none.
    for (const id of ['', null, 7])
      await expect(publish(one.app, 'board:1', 'n', 1, { id } as { id: string })).rejects.toMatchObject({
        code: 'SCALE_REALTIME_PUBLISH_INVALID',
      })
    const { app } = await startApp({ redis: 'redis://127.0.0.1:1', rooms: { a: { history: 1 } }, publishTimeout: 300 })
    await expect(publish(app, 'a', 'n', 1)).rejects.toMatchObject({
      code: 'SCALE_REALTIME_PUBLISH_TIMEOUT',
      statusCode: 503,
    })
    const client = open((await startTwo()).one.url)
    expect(client.position('a')).toBeUndefined()
  })
})
