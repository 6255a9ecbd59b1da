import { connect } from 'node:net'
import { addReadinessCheck } from '@fastify-scale/kit'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createPeer, createPortPair } from '../src/bus.ts'
import { type AdminServer, parseAdminAddress, startAdminServer } from '../src/health/admin.ts'
import { createHealth, type HealthWorker } from '../src/health/health.ts'
import { jsonPage, type Page } from '../src/health/page.ts'
import scaleCluster from '../src/index.ts'
import { openDescriptors } from '../src/proc/sampler.ts'
import { waitFor } from './helpers.ts'

type State = 'starting' | 'running' | 'stopping'

function worker(
  slot: number,
  state: HealthWorker['state'],
  answers: Record<string, () => unknown>,
  role = 'web',
): HealthWorker {
  const [near, far] = createPortPair()
  const own = createPeer(near)
  for (const [name, answer] of Object.entries(answers)) own.onCall(name, answer)
  return { id: slot, slot, role, state, peer: createPeer(far) }
}
const silent = (): Promise<never> => new Promise(() => undefined)
const passes = { 'health.ping': () => true, 'health.ready': () => ({ ready: true, checks: [] }) }
const fails = {
  'health.ping': () => true,
  'health.ready': () => ({ ready: false, checks: [{ name: 'cache: redis', ok: false, reason: 'away', ms: 1 }] }),
}
const hangs = { 'health.ping': silent, 'health.ready': silent }

function health(workers: HealthWorker[], state: State = 'running'): ReturnType<typeof createHealth> {
  return createHealth({ state: () => state, workers: () => workers, timeout: 100, cacheMs: 0 })
}
const bodyOf = ({ body }: Page): { status: string; workers: unknown[] } => JSON.parse(body)

describe('readyz', () => {
  it('wants every check of every worker that answers', async () => {
    expect((await health([worker(0, 'ready', passes), worker(1, 'ready', passes)]).readyz()).status).toBe(200)
    const page = await health([worker(0, 'ready', passes), worker(1, 'ready', fails)]).readyz()
    expect(page.status).toBe(503)
    expect(page.body).toContain('cache: redis')
    expect(page.body).toContain('away')
  })

  it('bears one worker that does not answer, not two, and not all', async () => {
    const [a, b, c] = [worker(0, 'ready', passes), worker(1, 'ready', hangs), worker(2, 'ready', hangs)]
    const page = await health([a, b]).readyz()
    expect(page.status).toBe(200)
    expect(bodyOf(page).workers).toMatchObject([
      { slot: 0, ready: true },
      { slot: 1, ready: false, reason: expect.stringContaining('no answer') },
    ])
    expect((await health([a, b, c]).readyz()).status).toBe(503)
    expect((await health([b]).readyz()).status).toBe(503)
    expect((await health([]).readyz()).status).toBe(503)
    expect((await health([a, worker(1, 'ready', { 'health.ready': () => 'nonsense' })]).readyz()).status).toBe(200)
  })

  it('wants one that listens, which job workers do not', async () => {
    const jobs = worker(2, 'ready', passes, 'jobs')
    expect((await health([worker(0, 'ready', passes), jobs]).readyz()).status).toBe(200)
    expect((await health([worker(0, 'starting', passes), jobs]).readyz()).status).toBe(503)
    expect((await health([worker(0, 'ready', hangs), jobs]).readyz()).status).toBe(503)
    expect((await health([worker(0, 'ready', passes), worker(2, 'ready', fails, 'jobs')]).readyz()).status).toBe(503)
  })

  it('does not ask workers that drain or start', async () => {
    const all = [worker(0, 'ready', passes), worker(1, 'draining', fails), worker(2, 'starting', fails)]
    expect((await health(all).readyz()).status).toBe(200)
    expect((await health(all.slice(1)).readyz()).status).toBe(503)
  })

  it('is not so while the cluster starts or stops', async () => {
    for (const state of ['starting', 'stopping'] as const) {
      const page = await health([worker(0, 'ready', passes)], state).readyz()
      expect(page.status).toBe(503)
      expect(bodyOf(page).status).toBe(state)
    }
  })

  it('tells at once that the cluster stops, also while an answer is kept or on its way', async () => {
    let state: State = 'running'
    const slow = {
      'health.ready': async () => {
        await new Promise((resolve) => setTimeout(resolve, 50))
        return { ready: true, checks: [] }
      },
    }
    const all = [worker(0, 'ready', slow)]
    const kept = createHealth({ state: () => state, workers: () => all, cacheMs: 60_000 })
    expect((await kept.readyz()).status).toBe(200)
    state = 'stopping'
    expect((await kept.readyz()).status).toBe(503)
    state = 'running'
    const asking = createHealth({ state: () => state, workers: () => all }).readyz()
    state = 'stopping'
    expect((await asking).status).toBe(503)
  })

  it('asks once for many probes', async () => {
    let asked = 0
    const counting = worker(0, 'ready', { 'health.ready': () => ({ ready: true, checks: [], asked: ++asked }) })
    const cached = createHealth({ state: () => 'running', workers: () => [counting], cacheMs: 60_000 })
    await Promise.all(Array.from({ length: 50 }, () => cached.readyz()))
    expect(asked).toBe(1)
  })
})

describe('livez', () => {
  it('is so while one worker answers, or the first start goes on', async () => {
    expect((await health([worker(0, 'ready', hangs), worker(1, 'ready', fails)]).livez()).status).toBe(200)
    expect((await health([], 'starting').livez()).status).toBe(200)
    expect((await health([worker(0, 'ready', hangs)]).livez()).status).toBe(503)
    expect((await health([]).livez()).status).toBe(503)
    const jobs = worker(1, 'ready', passes, 'jobs')
    expect((await health([worker(0, 'ready', hangs), jobs]).livez()).status).toBe(503)
    expect((await health([worker(0, 'starting', passes), jobs]).livez()).status).toBe(200)
  })
})

describe('the admin address', () => {
  it('is on loopback unless a host is named', () => {
    expect(parseAdminAddress(9100)).toEqual({ host: '127.0.0.1', port: 9100 })
    expect(parseAdminAddress('9100')).toEqual({ host: '127.0.0.1', port: 9100 })
    expect(parseAdminAddress(':9100')).toEqual({ host: '127.0.0.1', port: 9100 })
    expect(parseAdminAddress('0.0.0.0:9100')).toEqual({ host: '0.0.0.0', port: 9100 })
    expect(parseAdminAddress('[::1]:0')).toEqual({ host: '::1', port: 0 })
  })

  it.each(['', 'x', '1:2:3', 'host:', '70000', '-1', '1.5', 'a b:1', '[::1'])('refuses %j', (value) => {
    expect(() => parseAdminAddress(value)).toThrow(expect.objectContaining({ code: 'SCALE_CLUSTER_ADMIN_ADDRESS' }))
  })
})

describe('the admin server', () => {
  const servers: AdminServer[] = []
  afterEach(() => Promise.all(servers.splice(0).map((server) => server.close())))

  async function start(): Promise<AdminServer> {
    const server = await startAdminServer({
      address: { host: '127.0.0.1', port: 0 },
      pages: {
        '/livez': () => jsonPage(200, { status: 'alive' }),
        '/big': () => jsonPage(200, { text: 'x'.repeat(200_000) }),
        '/broken': () => {
          throw new Error('broken page')
        },
      },
    })
    servers.push(server)
    return server
  }

  /** Sends bytes, and gives what came until the server closed the connection. */
  function raw({ port }: AdminServer, bytes: string): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
      let text = ''
      socket.on('data', (chunk) => (text += String(chunk)))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
    })
  }
  const GET = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${more}\r\n`

  it('serves its pages to GET and HEAD and nothing to anybody else', async () => {
    const server = await start()
    expect(await raw(server, GET('/livez'))).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\n{"status":"alive"}\n$/)
    expect(await raw(server, GET('/livez?verbose'))).toContain('200 OK')
    const head = await raw(server, GET('/livez').replace('GET', 'HEAD'))
    expect(head).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*content-length: 19\r\n[^]*\r\n\r\n$/)
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
      const answer = await raw(server, GET('/livez').replace('GET', method))
      expect(answer).toMatch(/^HTTP\/1.1 405 [^]*allow: GET, HEAD/)
    }
    expect(await raw(server, GET('/broken'))).toMatch(/^HTTP\/1.1 500 [^]*broken page/)
    for (const path of ['/', '/nowhere', '/livez/', '/../livez', '/__proto__', '/constructor', '//livez', '*'])
      expect(await raw(server, GET(path))).toMatch(/^HTTP\/1.1 404 /)
  })

  it('is not hurt by hostile requests', async () => {
    const server = await start()
    expect(await raw(server, GET('/livez', `x: ${'a'.repeat(20_000)}\r\n`))).toMatch(/^HTTP\/1.1 431 /)
    expect(await raw(server, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
    expect(await raw(server, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /)
    expect(await raw(server, GET('/livez', 'upgrade: websocket\r\n').replace('close', 'upgrade'))).toBe('')
    // A body is not read: the answer comes and the connection ends.
    const post = `POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n`
    expect(await raw(server, post)).toMatch(/^HTTP\/1.1 405 [^]*connection: close/i)
    const smuggled = `GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`
    expect(await raw(server, smuggled)).toMatch(/^HTTP\/1.1 400 /)
    // One who says nothing is cut off.
    const slow = performance.now()
    expect(await raw(server, 'GET /livez HTTP/1.1\r\nhost')).toMatch(/^HTTP\/1.1 408 /)
    expect(performance.now() - slow).toBeLessThan(25_000)
    expect(await raw(server, GET('/livez'))).toContain('200 OK')
  })

  it('bears many connections and answers those that it has', async () => {
    const server = await start()
    const idle = Array.from({ length: 300 }, () => connect(server.port, '127.0.0.1').on('error', () => undefined))
    await waitFor(() => idle.filter((socket) => socket.destroyed || socket.readyState === 'closed').length >= 200)
    for (const socket of idle) socket.destroy()
    await waitFor(async () => (await raw(server, GET('/livez'))).includes('200 OK'))
  })

  it('does not keep a place for one who does not read', async () => {
    const server = await start()
    const before = openDescriptors(process.pid) as number
    const deaf = connect(server.port, '127.0.0.1')
      .on('error', () => undefined)
      .pause()
    await waitFor(() => openDescriptors(process.pid) === before + 2)
    // More than the system keeps for it.
    deaf.write('GET /big HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(60))
    // The other end is still there: it hears of nothing.
    await waitFor(() => openDescriptors(process.pid) === before + 1, { timeout: 25_000 })
    deaf.destroy()
  })

  it('says when its address is taken, and closes with clients connected', async () => {
    const server = await start()
    await expect(
      startAdminServer({ address: { host: '127.0.0.1', port: server.port }, pages: {} }),
    ).rejects.toMatchObject({ code: 'SCALE_CLUSTER_ADMIN_ADDRESS', message: expect.stringContaining('EADDRINUSE') })
    const socket = connect(server.port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    await server.close()
    await new Promise((resolve) => socket.once('close', resolve).resume())
  })
})

describe('mounted on the app', () => {
  let app: FastifyInstance
  afterEach(() => app.close())

  it('readyz tells what the checks of the plugins tell, livez goes on', async () => {
    app = Fastify()
    await app.register(scaleCluster, { mount: '/-' })
    let down = false
    addReadinessCheck(app, {
      name: 'db',
      check() {
        if (down) throw new Error('database is away')
      },
    })
    expect((await app.inject('/-/readyz')).statusCode).toBe(200)
    down = true
    const response = await app.inject('/-/readyz')
    expect(response.statusCode).toBe(503)
    expect(response.body).toContain('database is away')
    expect(response.headers['cache-control']).toBe('no-store')
    expect((await app.inject('/-/livez')).statusCode).toBe(200)
  })
})
