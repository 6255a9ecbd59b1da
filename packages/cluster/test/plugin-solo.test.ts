import Fastify, { type FastifyInstance } from 'fastify'
import { waitFor } from './helpers.ts'
import { afterEach, describe, expect, it } from 'vitest'
import scaleCluster, { type ScaleClusterOptions } from '../src/index.ts'

const apps: FastifyInstance[] = []
async function start(
  options: ScaleClusterOptions = {},
  setUp?: (app: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const app = Fastify()
  apps.push(app)
  await app.register(scaleCluster, options)
  setUp?.(app)
  await app.ready()
  return app
}
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

describe('without the launcher', () => {
  it('is worker 0, alone', async () => {
    const app = await start()
    expect(app.cluster.worker).toEqual({ id: 0, slot: 0, generation: 0, role: 'web', count: 1 })
    expect(app.cluster.launched).toBe(false)
    const [status] = await app.cluster.status()
    expect(status).toMatchObject({ pid: process.pid, state: 'running', slots: [{ slot: 0, pid: process.pid }] })
  })

  it('delivers broadcasts to its own listeners, as copies and in order', async () => {
    const app = await start()
    const seen: unknown[] = []
    const sent = { n: 1, at: new Date(0) }
    const off = app.cluster.on('news', (data) => seen.push(data))
    app.cluster.on('news', () => {
      throw new Error('a listener that fails hurts nobody')
    })
    app.cluster.broadcast('news', sent)
    app.cluster.broadcast('news')
    app.cluster.broadcast('other', 2)
    await waitFor(() => seen.length === 2)
    expect(seen).toEqual([{ n: 1, at: '1970-01-01T00:00:00.000Z' }, null])
    off()
    app.cluster.broadcast('news', 3)
    const last = new Promise((resolve) => app.cluster.on('end', resolve))
    app.cluster.broadcast('end')
    await last
    expect(seen).toHaveLength(2)
  })

  it('refuses what JSON can not carry', async () => {
    const app = await start()
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    for (const data of [circle, 1n, () => 1])
      expect(() => app.cluster.broadcast('x', data)).toThrow(
        expect.objectContaining({ code: 'SCALE_CLUSTER_NOT_SERIALIZABLE' }),
      )
  })

  it('says that there is no launcher to command', async () => {
    const app = await start()
    for (const order of [app.cluster.reload(), app.cluster.scale('+1'), app.cluster.restart(0), app.cluster.kill(0)])
      await expect(order).rejects.toMatchObject({ code: 'SCALE_CLUSTER_NO_LAUNCHER', statusCode: 501 })
  })

  it('runs a singleton when the app is ready, and stops it before the app has closed', async () => {
    const events: string[] = []
    const app = await start({}, (app) => {
      app.cluster.singleton('one', async ({ signal, fencing }) => {
        events.push(`start ${fencing > 1_700_000_000_000}`)
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        events.push('stop')
      })
      app.addHook('onReady', async () => void events.push('ready'))
      app.addHook('onClose', async () => void events.push('closed'))
    })
    await waitFor(() => events.length === 2)
    await app.close()
    expect(events).toEqual(['ready', 'start true', 'stop', 'closed'])
  })

  it('keeps a singleton whose function has returned, until it is stopped', async () => {
    const app = await start()
    let signal: AbortSignal | undefined
    const handle = app.cluster.singleton('timer', (context) => {
      signal = context.signal
    })
    await waitFor(() => handle.running)
    expect(signal?.aborted).toBe(false)
    expect(() => app.cluster.singleton('timer', () => undefined)).toThrow(
      expect.objectContaining({ code: 'SCALE_CLUSTER_NAME_TAKEN' }),
    )
    await handle.stop()
    expect(signal?.aborted).toBe(true)
    expect(handle.running).toBe(false)
    const again = app.cluster.singleton('timer', () => undefined)
    await waitFor(() => again.running)
  })

  it('starts a singleton that failed again, with a higher fencing number', async () => {
    const app = await start()
    const fences: number[] = []
    app.cluster.singleton('shaky', ({ fencing }) => {
      fences.push(fencing)
      if (fences.length < 2) throw new Error('first time')
    })
    await waitFor(() => fences.length === 2)
    expect(fences[1]).toBeGreaterThan(fences[0] as number)
  })

  it('loads a shared value, again and again, and keeps the last one when a load fails', async () => {
    const app = await start()
    let load: () => unknown = () => ({ n: 1 })
    const shared = app.cluster.shared<{ n: number }>('rates', { every: 20 }, () => load() as { n: number })
    expect(() => shared.value).toThrow(expect.objectContaining({ code: 'SCALE_CLUSTER_NOT_LOADED', statusCode: 503 }))
    await waitFor(() => shared.loaded)
    expect(shared.value).toEqual({ n: 1 })
    load = () => ({ n: 2 })
    await waitFor(() => shared.value.n === 2)
    load = () => {
      throw new Error('database is away')
    }
    await waitFor(() => shared.error !== undefined)
    expect(shared.error).toContain('database is away')
    expect(shared.value).toEqual({ n: 2 })
    load = () => ({ n: 3 })
    await waitFor(() => shared.value.n === 3)
    expect(shared.error).toBeUndefined()
  })

  it('loads a shared value now on refresh, and says why it could not', async () => {
    const app = await start()
    let n = 0
    const shared = app.cluster.shared('count', { every: '1h' }, () => {
      if (n === 2) throw new Error('no more')
      return ++n
    })
    await waitFor(() => shared.loaded)
    expect(await shared.refresh()).toBe(2)
    await expect(shared.refresh()).rejects.toMatchObject({ code: 'SCALE_CLUSTER_LOAD_FAILED' })
    expect(shared.value).toBe(2)
  })

  it('gives up a load that does not end, and loads again', async () => {
    const app = await start()
    let loads = 0
    let given: AbortSignal | undefined
    const shared = app.cluster.shared('slow', { every: 10, timeout: 30 }, ({ signal }) => {
      if (++loads > 1) return loads
      given = signal
      return new Promise<number>(() => undefined)
    })
    await waitFor(() => shared.loaded)
    expect(given?.aborted).toBe(true)
  })
})

describe('registered twice on one server', () => {
  it('is a no-op, also when options differ', async () => {
    const app = await start({}, (app) => {
      const first = app.cluster
      void app.register(scaleCluster, { metrics: false, name: 'other' })
      void app.register(async (child) => {
        await child.register(scaleCluster)
        expect(child.cluster).toBe(first)
      })
    })
    expect(app.cluster.worker.count).toBe(1)
  })

  it('joins: pages that only the second one asked for are mounted', async () => {
    const app = await start({}, (app) => void app.register(scaleCluster, { mount: '/internal' }))
    expect((await app.inject('/internal/livez')).statusCode).toBe(200)
    expect((await app.inject('/livez')).statusCode).toBe(404)
  })
})

describe('options', () => {
  it.each([
    [{ leas: 1 }, 'leas'],
    [{ lease: '1ms' }, 'lease'],
    [{ name: 'a b' }, 'name'],
    [{ mount: 'internal' }, 'mount'],
    [{ metrics: 1 }, 'metrics'],
    [{ decorator: '' }, 'decorator'],
  ])('refuses %j', async (options, name) => {
    const app = Fastify()
    apps.push(app)
    await expect(app.register(scaleCluster, options as ScaleClusterOptions)).rejects.toMatchObject({
      code: 'SCALE_CLUSTER_OPTION',
      message: expect.stringContaining(`'${name}'`),
    })
  })
})

it('in a child context it begins as it does at the root, when the app listens', async () => {
  const app = Fastify()
  let begun = false
  await app.register(async (child) => {
    await child.register(scaleCluster, { metrics: false })
    child.cluster.singleton('one', () => {
      begun = true
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await waitFor(() => begun)
  await app.close()
})
