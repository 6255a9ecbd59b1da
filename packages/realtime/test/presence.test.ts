import { waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { Presence } from '../src/presence.ts'
import { connect, onEnd, signToken, startApp, useRedis, verifyToken } from './support.ts'

describe('presence', () => {
  const redis = useRedis()

  it('names who is in a room on every process, by user', async () => {
    const options = {
      redis: redis.url,
      prefix: 'test-a:',
      rooms: { 'board:*': {}, 'quiet:*': { presence: false } },
      authenticate: ({ token }: { token: string | undefined }) => verifyToken(token ?? ''),
    }
    const [one, two] = await Promise.all([startApp(options), startApp(options)])
    const as = (sub: string, url: string) => connect(url, { getToken: () => signToken({ sub }) })
    const [ann, ann2, bob] = await Promise.all([as('ann', one.url), as('ann', two.url), as('bob', two.url)])
    await Promise.all([ann.join('board:1'), ann2.join('board:1'), bob.join('board:1'), bob.join('board:2')])
    const list = async (room: string) =>
      (await one.app.realtime.presence(room)).sort((a, b) => a.id.localeCompare(b.id))
    await waitFor(async () => (await list('board:1')).length === 2)
    expect(await list('board:1')).toEqual([
      { id: 'ann', sockets: 2 },
      { id: 'bob', sockets: 1 },
    ])
    ann.disconnect()
    bob.leave('board:1')
    await waitFor(async () => (await list('board:1')).length === 1)
    expect(await list('board:1')).toEqual([{ id: 'ann', sockets: 1 }])
    expect(await list('board:2')).toEqual([{ id: 'bob', sockets: 1 }])
    await expect(one.app.realtime.presence('quiet:1')).rejects.toMatchObject({ code: 'SCALE_REALTIME_ROOM_OPTION' })
    await two.app.close()
    await waitFor(async () => (await list('board:1')).length === 0)
  })

  it('names the user of a socket, too, that a middleware lets join, and not one that another refuses then', async () => {
    const { app, url } = await startApp({
      redis: redis.url,
      prefix: 'test-m:',
      rooms: { 'board:*': {} },
      authenticate: ({ token }) => verifyToken(token ?? ''),
    })
    app.io.use((socket, next) => {
      void socket.join('board:1')
      next(socket.data.user?.sub === 'bob' ? new Error('not you') : undefined)
    })
    const as = (sub: string) => connect(url, { getToken: () => signToken({ sub }) })
    await expect(as('bob')).rejects.toThrow('REFUSED')
    await as('ann')
    expect(await app.realtime.presence('board:1')).toEqual([{ id: 'ann', sockets: 1 }])
  })

  it('keeps those who stay, and lets those of a dead process end within its ttl', async () => {
    const { app, url } = await startApp({
      redis: redis.url,
      prefix: 'test-b:',
      rooms: { room: {}, gone: {} },
      presenceTtl: '1s',
    })
    const client = await connect(url)
    await client.join('room')
    // A process's own changes are in its own answer.
    expect(await app.realtime.presence('room')).toEqual([{ id: client.id, sockets: 1 }])
    const control = new Redis(redis.url)
    onEnd(() => control.disconnect())
    // Nobody is left to tidy up.
    await control.zadd('test-b:v1:{gone}:presence', Date.now() - 10, JSON.stringify(['ghost', 'socket']))
    expect(await app.realtime.presence('gone')).toEqual([])
    // As a process left it that was killed right after it wrote.
    const ends = Date.now() + 1_000
    await control.zadd('test-b:v1:{room}:presence', ends, JSON.stringify(['ghost', 'socket']))
    await waitFor(async () => (await app.realtime.presence('room')).some(({ id }) => id === 'ghost'))
    await waitFor(async () => !(await app.realtime.presence('room')).some(({ id }) => id === 'ghost'), {
      timeout: 5_000,
    })
    expect(Date.now()).toBeGreaterThanOrEqual(ends)
    expect(await app.realtime.presence('room')).toEqual([{ id: client.id, sockets: 1 }])
    await waitFor(async () => (await control.zcard('test-b:v1:{room}:presence')) === 1)
  })

  it('of a large room does not keep who leaves while it is refreshed', async () => {
    const client = new Redis(redis.url)
    onEnd(() => client.disconnect())
    let refreshed = (): unknown => undefined
    const { evalsha } = client
    // The answer to a refresh of 500 comes when somebody of the others has left.
    client.evalsha = async (...args: unknown[]) => {
      const reply = await evalsha.apply(client, args as never)
      if (args[4] === 500) await refreshed()
      return reply
    }
    const presence = new Presence({ client, prefix: 'test-l:', ttl: 1_500 })
    onEnd(() => presence.close())
    for (let i = 0; i < 600; i++) presence.enter('board', `s${i}`, `u${i}`)
    await waitFor(async () => (await presence.list('board')).length === 600)
    let left = false
    refreshed = async () => {
      refreshed = () => undefined
      presence.leave('board', 's599')
      expect(await presence.list('board')).toHaveLength(599)
      left = true
    }
    await waitFor(() => left)
    let refreshes = 0
    refreshed = () => refreshes++
    await waitFor(() => refreshes > 0)
    expect(await presence.list('board')).toHaveLength(599)
  })
})
