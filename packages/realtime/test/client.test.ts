import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it, vi } from 'vitest'
import { connect, onEnd, once, open, startApp } from './support.ts'

/** Fails with 503 as long as it is away. */
function createAuthenticate() {
  const state = { away: true, asked: 0, until: Promise.resolve() }
  return {
    state,
    authenticate: async () => {
      state.asked++
      await state.until
      if (state.away) throw Object.assign(new Error('away'), { statusCode: 503 })
      return { sub: 'ann' }
    },
  }
}

/** From here on retries wait for us. */
function holdTimers(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  onEnd(() => {
    vi.restoreAllMocks()
    vi.useRealTimers()
  })
}

describe('a client that could not connect and waits to try again', () => {
  it.each(['disconnect', 'close'] as const)('stays away after %s(), until connect()', async (end) => {
    const { state, authenticate } = createAuthenticate()
    const { url } = await startApp({ adapter: 'none', authenticate })
    holdTimers()
    const client = open(url, { getToken: () => 'any' })
    await once(client, 'connect_error')
    client[end]()
    state.away = false
    vi.advanceTimersByTime(20_000)
    expect(client.active).toBe(false)
    client.connect()
    await waitFor(() => client.connected)
    expect(state.asked).toBe(2)
  })

  it('connects once where it is told to before', async () => {
    const { state, authenticate } = createAuthenticate()
    const { app, url } = await startApp({ adapter: 'none', authenticate })
    app.io.of('/news')
    state.away = false
    // Another namespace keeps the connection open.
    await connect(`${url}/news`, { getToken: () => 'any', socket: { forceNew: false } })
    state.away = true
    holdTimers()
    const client = open(url, { getToken: () => 'any', socket: { forceNew: false } })
    await once(client, 'connect_error')
    state.away = false
    let go = (): void => undefined
    state.until = new Promise((resolve) => (go = resolve))
    client.connect()
    await waitFor(() => state.asked === 3)
    vi.advanceTimersByTime(2_000)
    go()
    await waitFor(() => client.connected)
    await client.join('after whatever it had sent')
    expect([state.asked, app.io.sockets.sockets.size]).toEqual([3, 1])
  })
})

describe('a token that is fetched', () => {
  it('is not used when the client was disconnected meanwhile', async () => {
    const { state, authenticate } = createAuthenticate()
    state.away = false
    const { app, url } = await startApp({ adapter: 'none', authenticate })
    app.io.of('/news')
    const tokens: { resolve: (token: string) => void; reject: (error: Error) => void }[] = []
    // Another namespace keeps the connection open.
    const news = await connect(`${url}/news`, { getToken: () => 'any', socket: { forceNew: false } })
    const client = open(url, {
      getToken: () => new Promise((resolve, reject) => tokens.push({ resolve, reject })),
      socket: { forceNew: false },
    })
    expect(client.io).toBe(news.io)
    await waitFor(() => tokens.length === 1)
    client.disconnect()
    client.connect()
    await waitFor(() => tokens.length === 2)
    client.disconnect()
    client.connect()
    await waitFor(() => tokens.length === 3)
    tokens[0]?.resolve('old')
    tokens[1]?.reject(new Error('old'))
    tokens[2]?.resolve('new')
    await waitFor(() => client.connected)
    expect(app.io.sockets.sockets.size).toBe(1)
    expect(state.asked).toBe(2)
  })

  it('in vain is asked for again after a while that grows, and other namespaces keep the connection', async () => {
    const { state, authenticate } = createAuthenticate()
    state.away = false
    const { app, url } = await startApp({ adapter: 'none', authenticate })
    app.io.of('/news')
    const news = await connect(`${url}/news`, { getToken: () => 'any', socket: { forceNew: false } })
    const { id } = news
    holdTimers()
    let asked = 0
    const client = open(url, {
      getToken: async () => {
        if (asked++ < 5) throw new Error('token server away')
        return 'any'
      },
      socket: { forceNew: false },
    })
    for (const [n, delay] of [750, 1_500, 3_000, 6_000, 11_250].entries()) {
      await waitFor(() => asked === n + 1)
      vi.advanceTimersByTime(delay - 1)
      expect(asked).toBe(n + 1)
      vi.advanceTimersByTime(1)
    }
    await waitFor(() => client.connected)
    expect(asked).toBe(6)
    expect([news.connected, news.id]).toEqual([true, id])
  })
})
