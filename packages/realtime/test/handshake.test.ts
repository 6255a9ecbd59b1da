import { waitFor } from '@fastify-scale/dev-services'
import { offerCapability } from '@fastify-scale/kit'
import { describe, expect, it } from 'vitest'
import { createTestAuthenticator, open, signToken, startApp } from './support.ts'

describe('a user who is ended while the handshake goes on', () => {
  /** Connects; resolves with null, or with the code that ended it. */
  function come(url: string, token: string): Promise<string | null> {
    const client = open(url, { getToken: () => token })
    return new Promise((resolve) => {
      client.onEnded(resolve)
      client.on('connect', () => resolve(null))
    })
  }

  it('is not let in by a middleware that took its time', async () => {
    const { authenticator, revoke } = createTestAuthenticator()
    const { app, url } = await startApp(
      { adapter: 'none' },
      { after: (fastify) => offerCapability(fastify, 'authenticator', authenticator) },
    )
    const waiting: ((error?: Error) => void)[] = []
    app.io.use((_socket, next) => void waiting.push(next))
    const connected: unknown[] = []
    app.io.on('connection', (socket) => connected.push(socket.data.user?.sid))
    const as = (sub: string, sid: string) => come(url, signToken({ sub, sid }))

    const codes = Promise.all([as('ann', 's1'), as('bob', 's2'), as('bob', 's3'), as('carl', 's4')])
    await waitFor(() => waiting.length === 4)
    revoke('s1')
    app.realtime.disconnect({ sub: 'bob', sid: 's2' })
    // Nobody.
    app.realtime.disconnect({})
    app.realtime.disconnect({ sub: 'carl', sid: 's1' })
    for (const next of waiting) next()
    expect(await codes).toEqual(['TOKEN_REVOKED', 'DISCONNECTED', null, null])
    expect(connected.toSorted()).toEqual(['s3', 's4'])
  })

  it('is not let in before the app has found out who it is, but may come again', async () => {
    const answers: ((user: { sub: string }) => void)[] = []
    const { app, url } = await startApp({
      adapter: 'none',
      authenticate: () => new Promise((resolve) => answers.push(resolve)),
    })
    const first = come(url, 'any')
    await waitFor(() => answers.length === 1)
    app.realtime.disconnect({ sub: 'ann' })
    answers[0]?.({ sub: 'ann' })
    expect(await first).toBe('DISCONNECTED')
    const second = come(url, 'any')
    await waitFor(() => answers.length === 2)
    answers[1]?.({ sub: 'ann' })
    expect(await second).toBeNull()
  })

  it('is ended where the middleware lets it in and ends it in one turn', async () => {
    const { app, url } = await startApp({ adapter: 'none', authenticate: () => ({ sub: 'ann' }) })
    app.io.use((_socket, next) => {
      next()
      // After what is waited for on the way, and before the socket is there.
      let left = 20
      const later = (): void => (left-- > 0 ? queueMicrotask(later) : app.realtime.disconnect({ sub: 'ann' }))
      later()
    })
    const client = open(url)
    expect(await new Promise((resolve) => client.onEnded(resolve))).toBe('DISCONNECTED')
    await waitFor(() => app.io.sockets.sockets.size === 0)
  })
})

it('a session that is ended while its token is checked, for a socket that was there, is ended', async () => {
  const { authenticator } = createTestAuthenticator()
  let revoke: Parameters<typeof authenticator.onRevoked>[0] = () => undefined
  const onRevoked: typeof authenticator.onRevoked = (listener) => {
    revoke = listener
    return () => undefined
  }
  const checks: (() => void)[] = []
  let held = false
  const { app, url } = await startApp(
    {
      adapter: 'none',
      tokenWarning: '10s',
      authenticate: async ({ token = '' }) => {
        if (held) await new Promise<void>((resolve) => checks.push(resolve))
        return authenticator.verify(token)
      },
    },
    { after: (fastify) => offerCapability(fastify, 'authenticator', { ...authenticator, onRevoked }) },
  )
  const come = (sub: string) => {
    let sid = 1
    const client = open(url, {
      getToken: () => signToken({ sub, sid: `${sub}${sid++}`, exp: Date.now() / 1_000 + (sid === 2 ? 2 : 600) }),
    })
    const ended = new Promise((resolve) => client.onEnded(resolve))
    return { client, ended }
  }
  const [ann, bob, carl] = [come('ann'), come('bob'), come('carl')]
  await waitFor(() => [ann, bob, carl].every(({ client }) => client.connected))
  held = true
  await waitFor(() => checks.length === 3)
  revoke(({ sid }) => sid === 'ann2')
  app.realtime.disconnect({ sid: 'bob2' })
  for (const go of checks) go()
  expect(await Promise.all([ann.ended, bob.ended])).toEqual(['TOKEN_REVOKED', 'DISCONNECTED'])
  const [socket, ...others] = app.io.sockets.sockets.values()
  await waitFor(() => socket?.data.user?.sid === 'carl2')
  expect(others).toEqual([])
})
