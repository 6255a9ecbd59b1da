import { request } from 'node:http'
import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import scaleRealtime, { type RealtimeOptions } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { Cluster, Redis } from 'ioredis'
import { connect, onEnd, startApp } from './support.ts'

describe('options', () => {
  it('are refused where they are wrong, with their names', () => {
    const wrong: [options: object, named: string][] = [
      [{ transports: ['polling'] }, "unknown option 'transports'"],
      [{ adapter: 'nats' }, "option 'adapter'"],
      [{ path: 'socket.io' }, "option 'path'"],
      [{ authenticate: true }, "option 'authenticate'"],
      [{ authorizeRoom: true }, "option 'authorizeRoom'"],
      [{ io: { transports: ['polling'] } }, "option 'io.transports'"],
      [{ io: { connectionStateRecovery: {} } }, "option 'io.connectionStateRecovery'"],
      [{ rooms: { a: { history: -1 } } }, "option 'rooms['a'].history'"],
      [{ rooms: { a: { histroy: 1 } } }, "unknown option 'histroy'"],
      [{ rooms: { a: { ttl: '2 weeks' } } }, "option 'rooms['a'].ttl'"],
      [{ rooms: { a: 500 } }, "option 'rooms['a']'"],
      [{ limits: { event: 1 } }, "unknown option 'event'"],
      [{ limits: { events: 0 } }, "option 'limits.events'"],
      [{ limits: { maxPayload: 'big' } }, "option 'limits.maxPayload'"],
      [{ origins: ['example.com'] }, "option 'origins'"],
      [{ origins: ['https://example.com/'] }, "option 'origins'"],
      [{ origins: 'https://example.com' }, "option 'origins'"],
      // The letters of a text would be names, and the main namespace is one.
      [{ openNamespaces: '/admin' }, "option 'openNamespaces'"],
      [{ openNamespaces: ['admin'] }, "option 'openNamespaces'"],
      [{ openNamespaces: [/admin/] }, "option 'openNamespaces'"],
      [{ publishTimeout: 0 }, "option 'publishTimeout'"],
      [{ drain: { rate: '1' } }, "option 'drain.rate'"],
      [{ prefix: 'a{b}' }, "option 'prefix'"],
      [{ anonymous: 'yes' }, "option 'anonymous'"],
      [{ traceparent: '00-0' }, "option 'traceparent'"],
    ]
    for (const [options, named] of wrong) {
      let error: { code?: string; message?: string } = {}
      try {
        resolveOptions(options as RealtimeOptions)
      } catch (thrown) {
        error = thrown as typeof error
      }
      expect(error.code, named).toBe('SCALE_REALTIME_OPTION')
      expect(error.message).toContain(named)
    }
  })

  it('are copied, and the first pattern of a room that fits counts', () => {
    const options: RealtimeOptions = {
      rooms: { 'a:*:c': { history: 1 }, 'a:*': { history: 2 }, 'x.y': { history: 3 } },
    }
    const before = JSON.stringify(options)
    const { rooms } = resolveOptions(options)
    expect(JSON.stringify(options)).toBe(before)
    const history = (room: string): number | undefined => rooms.find((rule) => rule.matches(room))?.history
    expect(['a:b:c', 'a:b', 'a:', 'xzy', 'x.y', 'b'].map(history)).toEqual([1, 2, 2, undefined, 3, undefined])
  })

  it('refuse a Redis configuration that would break without a word, in each of its forms', async () => {
    const lazy = { lazyConnect: true }
    const nodes = [{ host: '127.0.0.1', port: 1 }]
    const forms = (option: object, query: string): RealtimeOptions['redis'][] => [
      { host: '127.0.0.1', port: 1, ...option },
      `redis://127.0.0.1:1?${query}`,
      new Redis('redis://127.0.0.1:1', { ...lazy, ...option }),
      new Redis(`redis://127.0.0.1:1?${query}`, lazy),
      new Cluster(nodes, { ...lazy, redisOptions: option }),
    ]
    const wrong = {
      enableOfflineQueue: [
        ...forms({ enableOfflineQueue: false }, 'enableOfflineQueue=false'),
        new Cluster(nodes, { ...lazy, enableOfflineQueue: false }),
      ],
      replyMapping: forms({ replyMapping: 'resp3' }, 'replyMapping=resp3'),
    }
    for (const [named, all] of Object.entries(wrong)) {
      for (const [i, redis] of all.entries()) {
        const app = fastify()
        onEnd(() => app.close())
        await expect(app.register(scaleRealtime, { redis }), `${named}, form ${i}`).rejects.toMatchObject({
          code: 'SCALE_REALTIME_OPTION',
          message: expect.stringContaining(named),
        })
      }
    }
    for (const redis of forms({ enableOfflineQueue: true, replyMapping: 'legacy' }, 'enableOfflineQueue=true'))
      expect(() => resolveOptions({ redis })).not.toThrow()
    // Not used: not asked.
    expect(() => resolveOptions({ adapter: 'none', redis: { enableOfflineQueue: false } })).not.toThrow()
  })

  it('need Redis only where it is used', async () => {
    const app = fastify()
    onEnd(() => app.close())
    await expect(app.register(scaleRealtime, {})).rejects.toMatchObject({ code: 'SCALE_KIT_NO_REDIS' })
  })

  it('let two registrations live beside each other, below a prefix too', async () => {
    const app = fastify()
    onEnd(() => app.close())
    await app.register(scaleRealtime, { adapter: 'none' })
    await expect(app.register(scaleRealtime, { adapter: 'none', path: '/b' })).rejects.toMatchObject({
      code: 'SCALE_REALTIME_OPTION',
    })
    const { url } = await startApp(
      { adapter: 'none' },
      {
        after: (instance) =>
          instance.register(
            async (scope) => {
              await scope.register(scaleRealtime, {
                adapter: 'none',
                path: '/live',
                decorators: { io: 'io2', realtime: 'realtime2' },
              })
            },
            { prefix: '/v2' },
          ),
      },
    )
    const [a, b] = await Promise.all([connect(url), connect(url, { path: '/v2/live' })])
    expect([a.connected, b.connected]).toEqual([true, true])
    // An upgrade that is of neither is still answered.
    const status = await new Promise((resolve, reject) => {
      const sent = request(`${url}/nowhere`, { headers: { connection: 'Upgrade', upgrade: 'h2c' } }, (reply) => {
        reply.resume()
        resolve(reply.statusCode)
      })
      sent.on('error', reject).end()
    })
    expect(status).toBe(404)
  })
})
