import { waitFor } from '@fastify-scale/dev-services'
import { offerCapability } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import { io as plainClient } from 'socket.io-client'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { RealtimeOptions } from '../src/index.ts'
import {
  collect,
  connect,
  createTestAuthenticator,
  emit,
  onEnd,
  open,
  publish,
  signToken,
  startApp,
  useRedis,
} from './support.ts'

const inSeconds = (s: number): number => Math.floor(Date.now() / 1_000) + s

describe('authentication', () => {
  const redis = useRedis()

  /** An app with an authenticator that, as the order of registration is free, is there only later. */
  async function start(options: RealtimeOptions = {}) {
    const { authenticator, revoke } = createTestAuthenticator()
    const after = (app: FastifyInstance): void => offerCapability(app, 'authenticator', authenticator)
    return { ...(await startApp({ adapter: 'none', ...options }, { after })), revoke }
  }

  /** The code with which a plain client is refused, or null where it is let in. */
  function refusal(url: string, auth: object, headers: Record<string, string> = {}): Promise<string | null> {
    const client = plainClient(url, {
      transports: ['websocket'],
      reconnection: false,
      forceNew: true,
      auth,
      extraHeaders: headers,
    })
    onEnd(() => client.disconnect())
    return new Promise((resolve) => {
      client.on('connect', () => resolve(null))
      client.on('connect_error', (error: Error & { data?: { code?: string } }) => {
        expect(error.data?.code).toBe(error.message)
        resolve(error.message)
      })
    })
  }

  it('lets in whom the authenticator of HTTP lets in, and says why not', async () => {
    const { url, app } = await start()
    const token = signToken({ sub: 'ann' })
    expect(await refusal(url, { token })).toBeNull()
    expect(await refusal(url, {}, { authorization: `Bearer ${token}` })).toBeNull()
    expect(await refusal(url, { token: signToken({ sub: 'ann', exp: inSeconds(-1) }) })).toBe('TOKEN_EXPIRED')
    for (const wrong of [{}, { token: `${token}x` }, { token: 7 }, { token: '' }, { token: ['a'] }, { token: null }])
      expect(await refusal(url, wrong)).toBe('TOKEN_INVALID')
    expect(await refusal(url, { token, filler: 'x'.repeat(20_000) })).toBe('AUTH_TOO_LARGE')
    const users = [...app.io.sockets.sockets.values()].map(({ data }) => data.user?.sub)
    expect(new Set(users)).toEqual(new Set(['ann']))
  })

  it('takes cookies only from pages of its own host, or of origins that are named', async () => {
    const { url } = await start({ origins: ['https://app.example.com'] })
    const cookie = `token=${signToken({ sub: 'ann' })}`
    expect(await refusal(url, {}, { cookie, origin: url })).toBeNull()
    expect(await refusal(url, {}, { cookie, origin: 'https://app.example.com' })).toBeNull()
    expect(await refusal(url, {}, { cookie })).toBeNull()
    for (const origin of ['https://evil.example.com', 'null', 'https://app.example.com.evil.com', `${url}.evil.com`])
      expect(await refusal(url, {}, { cookie, origin })).toBe('ORIGIN_DENIED')
    // A token in the handshake is no cookie: no other page knows it.
    const token = signToken({ sub: 'ann' })
    expect(await refusal(url, { token }, { cookie, origin: 'https://evil.example.com' })).toBeNull()
  })

  it('keeps cookies from authenticate where a foreign page sent them, with whatever token beside them', async () => {
    const seen: (string | undefined)[] = []
    const { url } = await startApp({
      adapter: 'none',
      origins: ['https://app.example.com'],
      authenticate({ headers }) {
        seen.push(headers.cookie)
        return headers.cookie === 'session=ann' ? { sub: 'ann' } : null
      },
    })
    const headers = { cookie: 'session=ann', origin: 'https://evil.example.com' }
    expect(await refusal(url, {}, headers)).toBe('ORIGIN_DENIED')
    expect(await refusal(url, { token: 'x' }, headers)).toBe('TOKEN_INVALID')
    expect(await refusal(url, {}, { ...headers, authorization: 'Bearer x' })).toBe('TOKEN_INVALID')
    expect(await refusal(url, { token: 'x' }, { ...headers, origin: 'https://app.example.com' })).toBeNull()
    expect(await refusal(url, { token: 'x' }, { cookie: headers.cookie })).toBeNull()
    expect(seen).toEqual([undefined, undefined, 'session=ann', 'session=ann'])
  })

  it('sees the host and address that a trusted proxy names, and no other', async () => {
    const seen: string[] = []
    const authenticate: RealtimeOptions['authenticate'] = ({ address }) => (seen.push(address), { sub: 'x' })
    const trusting = await startApp({ adapter: 'none', authenticate }, { server: { trustProxy: '127.0.0.1' } })
    const wary = await startApp({ adapter: 'none', authenticate })
    const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-host': 'shop.example.com' }
    expect(await refusal(trusting.url, {}, headers)).toBeNull()
    expect(await refusal(wary.url, {}, headers)).toBeNull()
    expect(seen).toEqual(['203.0.113.9', '127.0.0.1'])
    const page = { ...headers, cookie: 'a=b', origin: 'https://shop.example.com' }
    expect(await refusal(trusting.url, {}, page)).toBeNull()
    expect(await refusal(wary.url, {}, page)).toBe('ORIGIN_DENIED')
  })

  it('guards every namespace, those too that are made on demand, but for the open ones', async () => {
    const { app, url } = await start({ openNamespaces: ['/admin'] })
    const order: string[] = []
    app.io.of(/^\/shop-\d+$/).use((_socket, next) => {
      order.push('user')
      next()
    })
    app.io.of('/news')
    app.io.of('/admin')
    for (const name of ['/news', '/shop-1']) {
      expect(await refusal(url + name, {})).toBe('TOKEN_INVALID')
      expect(await refusal(url + name, { token: signToken({ sub: 'ann' }) })).toBeNull()
    }
    expect(await refusal(`${url}/admin`, {})).toBeNull()
    // The user's middleware saw nobody who was not authenticated.
    expect(order).toEqual(['user'])
  })

  it('tells a failing authenticate from a refusing one, and never waits for ever', async () => {
    const fail = (error: Error & { statusCode?: number; code?: string }) =>
      startApp({ adapter: 'none', authenticate: () => Promise.reject(error) })
    expect(await refusal((await fail(new Error('no'))).url, {})).toBe('TOKEN_INVALID')
    expect(await refusal((await fail(Object.assign(new Error(), { statusCode: 503 }))).url, {})).toBe(
      'AUTH_UNAVAILABLE',
    )
    expect(await refusal((await fail(Object.assign(new Error(), { code: 'MY_TOKEN_EXPIRED' }))).url, {})).toBe(
      'TOKEN_EXPIRED',
    )
    const throwing = await startApp({
      adapter: 'none',
      authenticate: () => {
        throw Object.assign(new Error('db'), { statusCode: 500 })
      },
    })
    expect(await refusal(throwing.url, {})).toBe('AUTH_UNAVAILABLE')
    const { url } = await startApp({ adapter: 'none', authenticate: () => null })
    expect(await refusal(url, {})).toBe('TOKEN_INVALID')
    const { url: lenient } = await start({ anonymous: true })
    expect(await refusal(lenient, {})).toBeNull()
    expect(await refusal(lenient, { token: 'wrong' })).toBe('TOKEN_INVALID')
  })

  it('warns a socket before its token ends, takes a fresh one of the same subject, and closes without', async () => {
    const { app, url } = await start({ tokenWarning: '2s' })
    const reasons: string[] = []
    const fresh = await connect(url, {
      getToken: (reason) => {
        reasons.push(reason)
        return signToken({ sub: 'ann', exp: inSeconds(reason === 'connect' ? 2 : 60) })
      },
    })
    const raw = plainClient(url, {
      transports: ['websocket'],
      auth: { token: signToken({ sub: 'bob', exp: inSeconds(3) }) },
    })
    onEnd(() => raw.disconnect())
    const warned = new Promise<{ exp: number }>((resolve) => raw.on('realtime:token-expiring', resolve))
    const told = new Promise<{ code: string }>((resolve) => raw.on('realtime:close', resolve))
    const ended = new Promise<string>((resolve) => raw.on('disconnect', resolve))
    const { exp } = await warned
    expect(exp * 1_000).toBeGreaterThan(Date.now())
    // Neither another subject, nor a forged one, nor nonsense.
    for (const token of [signToken({ sub: 'ann', exp: inSeconds(60) }), 'forged', 7, null, { sub: 'bob' }])
      expect(await raw.emitWithAck('realtime:token', token)).toEqual({ ok: false, code: 'TOKEN_INVALID' })
    expect(await told).toEqual({ code: 'TOKEN_EXPIRED' })
    expect(await ended).toBe('io server disconnect')
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1_000)
    expect(Date.now()).toBeLessThan(exp * 1_000 + 5_000)
    // The other one was refreshed on its connection.
    expect(reasons).toEqual(['connect', 'expiring'])
    expect(fresh.connected).toBe(true)
    expect(app.io.sockets.sockets.get(fresh.id ?? '')?.data.user?.exp).toBeGreaterThan(inSeconds(30))
  })

  it('lets a client back in with a new token when it could not refresh in time', async () => {
    const { url } = await start({ tokenWarning: 0, rooms: { room: { history: 10 } }, redis: redis.url })
    let given = 0
    const client = open(url, {
      getToken: (reason) =>
        signToken({ sub: 'ann', exp: reason === 'expired' ? inSeconds(60) : inSeconds(given++ === 0 ? 2 : -1) }),
    })
    await client.join('room')
    const first = client.id
    await waitFor(() => client.connected && client.id !== first)
    expect(client.joined()).toEqual(['room'])
  })

  it('gives up where no token helps, and says so', async () => {
    const { url } = await start()
    const reasons: string[] = []
    const client = open(url, { getToken: (reason) => (reasons.push(reason), 'forged') })
    const code = await new Promise((resolve) => client.onEnded(resolve))
    expect(code).toBe('TOKEN_INVALID')
    expect(reasons).toEqual(['connect', 'invalid'])
    // A token that can't be fetched now is another matter: it goes on trying.
    let failures = 0
    const later = open(url, {
      getToken: () => (failures++ < 2 ? Promise.reject(new Error('offline')) : signToken({ sub: 'ann' })),
    })
    await waitFor(() => later.connected)
  })

  it('closes the sockets of a revoked session, and of a user on every process', async () => {
    const options = { adapter: 'redis' as const, redis: redis.url, channel: 'revoke' }
    const [one, two] = await Promise.all([start(options), start(options)])
    const as = (url: string, sub: string, sid: string) => connect(url, { getToken: () => signToken({ sub, sid }) })
    const [ann1, ann2, bob] = await Promise.all([
      as(one.url, 'ann', 's1'),
      as(one.url, 'ann', 's2'),
      as(two.url, 'bob', 's3'),
    ])
    const ended: string[] = []
    for (const [name, client] of Object.entries({ ann1, ann2, bob }))
      client.onEnded((code) => ended.push(`${name} ${code}`))
    one.revoke('s1')
    await waitFor(() => ended.length === 1)
    expect([ann1.connected, ann2.connected, bob.connected]).toEqual([false, true, true])
    // Every process listens, as the adapter knows.
    await waitFor(async () => (await one.app.io.fetchSockets()).length === 2)
    one.app.realtime.disconnect({ sub: 'bob' })
    two.app.realtime.disconnect({ sub: 'ann', sid: 's2' })
    await waitFor(() => ended.length === 3)
    expect(new Set(ended)).toEqual(new Set(['ann1 TOKEN_REVOKED', 'ann2 DISCONNECTED', 'bob DISCONNECTED']))
    // A target that names nobody is nobody, not everybody.
    const again = await as(one.url, 'carl', 's4')
    one.app.realtime.disconnect({})
    const marker = collect(again, 'marker')
    await publish(one.app, again.id as string, 'marker')
    await waitFor(() => marker.length === 1)
  })

  it('denies rooms by default, rooms of other sockets in any case, and asks with the user', async () => {
    const asked: unknown[] = []
    const { url } = await start({
      authorizeRoom: ({ room, user }) => {
        asked.push([room, user?.sub])
        if (room === 'broken') throw new Error('database')
        return room === `of:${user?.sub}`
      },
    })
    const client = await connect(url, { getToken: () => signToken({ sub: 'ann' }) })
    const victim = await connect(url, { getToken: () => signToken({ sub: 'bob' }) })
    await client.join('of:ann')
    await expect(client.join('of:bob')).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_DENIED' })
    await expect(client.join(victim.id as string)).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_INVALID' })
    await expect(client.join('')).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_INVALID' })
    await expect(client.join('x'.repeat(201))).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_INVALID' })
    expect(asked).toEqual([
      ['of:ann', 'ann'],
      ['of:bob', 'ann'],
    ])
    const { url: other } = await start({ authorizeRoom: undefined })
    const denied = await connect(other, { getToken: () => signToken({ sub: 'ann' }) })
    await expect(denied.join('any')).rejects.toMatchObject({ code: 'SCALE_REALTIME_JOIN_DENIED' })
    // Where it can't be said, the client asks again.
    let settled = false
    void client.join('broken').then(
      () => (settled = true),
      () => (settled = true),
    )
    await waitFor(() => asked.filter((one) => (one as unknown[])[0] === 'broken').length >= 2)
    expect(settled).toBe(false)
  })

  it('survives nonsense in place of its own events', async () => {
    const { url, app } = await start()
    const client = await connect(url, { getToken: () => signToken({ sub: 'ann' }) })
    const nonsense: unknown[] = [
      undefined,
      null,
      7,
      'x',
      [],
      {},
      [null],
      [{ room: 7 }],
      [{ room: 'a', seq: -1, epoch: 'e' }],
    ]
    for (const event of ['realtime:join', 'realtime:leave', 'realtime:token', 'realtime:resync', 'realtime:disconnect'])
      for (const value of nonsense) {
        emit(client, event, value)
        // With an acknowledgement, and with something else in its place.
        emit(client, event, value, () => undefined)
        emit(client, event, value, 'reply')
      }
    const got = collect(client, 'pong')
    await waitFor(async () => {
      await publish(app, client.id as string, 'pong')
      return got.length > 0
    })
    expect(client.connected).toBe(true)
    const ws = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    onEnd(() => ws.terminate())
    await new Promise((resolve) => ws.once('open', resolve))
    for (const text of [
      '4',
      '40',
      '42["x"]',
      '4{',
      '451-["x",{"_placeholder":true,"num":9}]',
      '9',
      '40/__proto__,',
      '40/nope,{}',
    ])
      ws.send(text)
    await new Promise((resolve) => ws.once('close', resolve))
    expect(client.connected).toBe(true)
  })
})
