import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it } from 'vitest'
import { collect, connect, publish, startApp, useRedis } from './support.ts'

describe.each(['redis', 'redis-sharded'] as const)('broadcasts with adapter %s', (adapter) => {
  const redis = useRedis()

  async function startTwo() {
    const options = { redis: redis.url, adapter, channel: `test-${Math.random()}` }
    const one = await startApp(options)
    const two = await startApp(options)
    await waitFor(async () => (await one.app.io.fetchSockets()).length === 0)
    return { one, two }
  }

  it('reach a room on every process, and nobody else', async () => {
    const { one, two } = await startTwo()
    const [a, b, c] = await Promise.all([connect(one.url), connect(two.url), connect(two.url)])
    const [gotA, gotB, gotC] = [a, b, c].map((client) => collect(client, 'photo'))
    await Promise.all([a.join('board:1'), b.join('board:1'), c.join('board:2')])
    await publish(one.app, 'board:1', 'photo', { id: 7 })
    await waitFor(() => gotA?.length === 1 && gotB?.length === 1)
    // What reaches b before c's marker would have reached c as well.
    const marker = collect(c, 'marker')
    await publish(one.app, 'board:2', 'marker')
    await waitFor(() => marker.length === 1)
    expect([gotA, gotB, gotC]).toEqual([[{ id: 7 }], [{ id: 7 }], []])
  })

  it.each(['/', '/shop'])(
    'carry binary data, acknowledgements, direct messages and serverSideEmit in %s',
    async (name) => {
      const { one, two } = await startTwo()
      const io = (one.app.io as never as import('socket.io').Server).of(name)
      const other = (two.app.io as never as import('socket.io').Server).of(name)
      const client = await connect(name === '/' ? two.url : two.url + name)
      const got = collect<Buffer>(client, 'bytes')
      await waitFor(async () => (await io.fetchSockets()).length === 1)
      io.to(client.id as string).emit('bytes', Buffer.from([1, 2, 255]))
      await waitFor(() => got.length === 1)
      expect([...(got[0] as Buffer)]).toEqual([1, 2, 255])

      ;(client as never as import('socket.io-client').Socket).on('ask', (reply: (text: string) => void) =>
        reply('here'),
      )
      expect(await io.timeout(5_000).emitWithAck('ask')).toEqual(['here'])

      other.on('who', (reply: (text: string) => void) => reply('two'))
      expect(await io.serverSideEmitWithAck('who')).toEqual(['two'])
    },
  )
})
