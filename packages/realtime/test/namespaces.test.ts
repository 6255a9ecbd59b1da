import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it } from 'vitest'
import { type TestClient, collect, once, open, signToken, startApp, verifyToken } from './support.ts'

describe('namespaces that share a connection', () => {
  const start = () =>
    startApp(
      { adapter: 'none', tokenWarning: 0, authenticate: ({ token = '' }) => verifyToken(token) },
      { after: (app) => void app.io.of('/news') },
    )

  /** Clients of both, on one connection, as pages have them. */
  function both(url: string, getToken: (namespace: string, reason: string) => string) {
    const ended: string[] = []
    const [main, news] = ['/', '/news'].map((namespace) => {
      const client = open(`${url}${namespace}`, {
        getToken: (reason) => getToken(namespace, reason),
        socket: { forceNew: false },
      })
      client.onEnded((code) => ended.push(`${namespace} ${code}`))
      return client
    }) as [TestClient, TestClient]
    expect(main.io).toBe(news.io)
    return { main, news, ended }
  }

  it('are each let back in with a new token when the old one has ended', async () => {
    const { url } = await start()
    const soon = Date.now() / 1_000 + 2
    const asked: string[] = []
    const { main, news, ended } = both(url, (namespace, reason) => {
      if (reason !== 'expired') return signToken({ sub: 'ann', exp: soon })
      asked.push(namespace)
      return signToken({ sub: 'ann' })
    })
    await waitFor(() => main.connected && news.connected)
    await waitFor(() => asked.length === 2)
    await waitFor(() => main.connected && news.connected)
    expect([asked.toSorted(), ended]).toEqual([['/', '/news'], []])
  })

  it('end each for themselves, and the connection with the last', async () => {
    const { app, url } = await start()
    const { main, news, ended } = both(url, (namespace) => signToken({ sub: namespace }))
    await waitFor(() => main.connected && news.connected)
    app.realtime.disconnect({ sub: '/' })
    await waitFor(() => ended.length === 1)
    expect([main.connected, news.connected, app.realtime.stats().connections]).toEqual([false, true, 1])
    app.realtime.disconnect({ sub: '/news' })
    await waitFor(() => app.realtime.stats().connections === 0)
    expect(ended).toEqual(['/ DISCONNECTED', '/news DISCONNECTED'])
  })

  it('hear of a drain where one of them has ended', async () => {
    const { app, url } = await start()
    const { main, news, ended } = both(url, (namespace) => signToken({ sub: namespace }))
    await waitFor(() => main.connected && news.connected)
    const hints = collect<{ delay: number }>(news, 'realtime:reconnect')
    // The one that came last.
    const back = once(main, 'connect')
    main.disconnect().connect()
    await back
    app.realtime.disconnect({ sub: '/' })
    await waitFor(() => ended.length === 1)
    await app.realtime.drain()
    await waitFor(() => hints.length === 1)
  })
})
