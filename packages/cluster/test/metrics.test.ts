import dns from 'node:dns'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { createChannel } from '@fastify-scale/kit'
import Fastify, { type FastifyInstance } from 'fastify'
import { describe, expect, it, vi } from 'vitest'
import { createPeer, createPortPair, type Peer } from '../src/bus.ts'
import scaleCluster from '../src/index.ts'
import { createMetricsCollector } from '../src/metrics/collect.ts'
import { countConnections } from '../src/metrics/connections.ts'
import { createHttpRecorder } from '../src/metrics/http.ts'
import { waitFor } from './helpers.ts'
import { apps, scrape, start, valueOf } from './metrics-app.ts'

describe('requests', () => {
  it('are counted by method, route pattern and class of status', async () => {
    const app = await start()
    const base = await app.listen({ port: 0, host: '127.0.0.1' })
    const ask = async (path: string, method = 'GET'): Promise<string> => (await fetch(base + path, { method })).text()
    for (const url of ['/users/1', '/users/2', '/early', '/broken', '/nowhere/1', '/nowhere/2', '/401']) await ask(url)
    await ask('/both', 'POST')
    await ask('/both', 'PUT')
    await ask('/both', 'PUT')
    await waitFor(async () => (await scrape(app)).includes('status="4xx"'))
    const text = await scrape(app)
    const count = (method: string, route: string, status: string): number | undefined =>
      valueOf(text, `http_requests_total{method="${method}",route="${route}",status="${status}"}`)
    expect(count('GET', '/users/:id', '2xx')).toBe(2)
    expect(count('GET', '/early', '2xx')).toBe(1)
    expect(count('GET', '/broken', '5xx')).toBe(1)
    expect(count('GET', '(not found)', '4xx')).toBe(2)
    // Also what a hook answers before the handler.
    expect(count('GET', '/401', '4xx')).toBe(1)
    expect(count('POST', '/both', '2xx')).toBe(1)
    expect(count('PUT', '/both', '2xx')).toBe(2)
    const series = 'method="GET",route="/users/:id",status="2xx"'
    expect(valueOf(text, `http_request_duration_seconds_bucket{le="+Inf",${series}}`)).toBe(2)
    expect(valueOf(text, `http_request_duration_seconds_count{${series}}`)).toBe(2)
    expect(valueOf(text, `http_request_duration_seconds_sum{${series}}`)).toBeGreaterThan(0)
  })

  it('are counted over HTTP/2, and only those of the own server', async () => {
    const app = Fastify({ http2: true }) as unknown as FastifyInstance
    apps.push(app)
    await app.register(scaleCluster, { mount: '/-' })
    app.get('/two', async () => 'two')
    const other = await start()
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    await (await fetch(`${await other.listen({ port: 0, host: '127.0.0.1' })}/early`)).text()
    const session = connectHttp2(url)
    const stream = session.request({ ':path': '/two' })
    stream.resume()
    await once(stream, 'end')
    session.close()
    const text = await waitFor(async () => {
      const page = await scrape(app)
      return page.includes('/two') && page
    })
    expect(valueOf(text, 'http_requests_total{method="GET",route="/two",status="2xx"}')).toBe(1)
    expect(text).not.toContain('/early')
  })

  it('are counted on every address that localhost is', async () => {
    const app = await start()
    // As where it is 127.0.0.1 and ::1: Fastify makes a server for each.
    const of = (name: string): string[] => (name === 'localhost' ? ['127.0.0.1', '127.0.0.2'] : [name])
    // Node 20 asks for one address, later ones for all of them.
    const lookup = vi.spyOn(dns, 'lookup').mockImplementation(((name: string, ...rest: unknown[]) => {
      const done = rest.at(-1) as (error: null, found: unknown, family?: number) => void
      const found = of(name).map((address) => ({ address, family: 4 }))
      if ((rest[0] as dns.LookupOptions).all) done(null, found)
      else done(null, found[0]?.address, 4)
    }) as never)
    await app.listen({ port: 0 }).finally(() => lookup.mockRestore())
    const addresses = app.addresses() as AddressInfo[]
    expect(addresses).toHaveLength(2)
    for (const { address, port } of addresses) await (await fetch(`http://${address}:${port}/early`)).text()
    const line = 'http_requests_total{method="GET",route="/early",status="2xx"}'
    await waitFor(async () => valueOf(await scrape(app), line) === 2)
  })

  it('never make more series than a scrape can bear', () => {
    const recorder = createHttpRecorder()
    for (let i = 0; i < 5_000; i++) recorder.record({ url: `/r${i}` }, 'GET', 200, 1)
    const [counts] = recorder.snapshot()
    expect(counts?.values.length).toBe(2_001)
    expect(counts?.values.reduce((sum, one) => sum + one.value, 0)).toBe(5_000)
    expect(counts?.values.at(-1)).toEqual({ labels: { method: 'GET', route: '(other)', status: '2xx' }, value: 3_000 })
  })

  it('give a 99th percentile that is right to an eighth of a doubling, and only since it was asked last', () => {
    const recorder = createHttpRecorder()
    const route = { url: '/' }
    expect(recorder.take()).toEqual({ requests: 0, p99: undefined })
    for (let i = 1; i <= 1_000; i++) recorder.record(route, 'GET', 200, i)
    const { requests, p99 } = recorder.take()
    expect(requests).toBe(1_000)
    expect(p99).toBeGreaterThanOrEqual(990)
    expect(p99).toBeLessThanOrEqual(990 * 2 ** (1 / 8))
    recorder.record(route, 'GET', 200, 0)
    recorder.record(route, 'GET', 200, 1e12)
    expect(recorder.take().requests).toBe(2)
    expect(recorder.take()).toEqual({ requests: 0, p99: undefined })
  })
})

describe('the process', () => {
  it('tells event loop, heap, CPU and garbage collection', async () => {
    const app = await start()
    const until = performance.now() + 60
    while (performance.now() < until) JSON.parse(JSON.stringify(Array.from({ length: 1_000 }, String)))
    const text = await waitFor(async () => {
      const page = await scrape(app)
      return page.includes('nodejs_gc_duration_seconds_count') && page
    })
    expect(valueOf(text, 'nodejs_heap_size_used_bytes{slot="0"}')).toBeGreaterThan(1e6)
    expect(valueOf(text, 'process_resident_memory_bytes{slot="0"}')).toBeGreaterThan(1e7)
    expect(valueOf(text, 'process_cpu_seconds_total{slot="0"}')).toBeGreaterThan(0)
    expect(valueOf(text, 'nodejs_eventloop_utilization_ratio{slot="0"}')).toBeGreaterThan(0)
    expect(valueOf(text, 'nodejs_eventloop_lag_p99_seconds{slot="0"}')).toBeGreaterThanOrEqual(0)
    expect(valueOf(text, 'fastify_scale_worker_silent{slot="0"}')).toBe(0)
  })

  it('counts connections, active and idle', async () => {
    const app = await start()
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const idle = connect(port, '127.0.0.1')
    idle.write('GET /early HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(idle, 'data')
    const busy = request({ port, host: '127.0.0.1', method: 'POST', path: '/both', headers: { 'content-length': 9 } })
    busy.on('error', () => undefined)
    busy.flushHeaders()
    await waitFor(() => countConnections(app.server).connections === 2)
    // Fails where a version of Node keeps its list elsewhere: then only the total would be known.
    await waitFor(() => countConnections(app.server).idle === 1)
    idle.destroy()
    busy.destroy()
    await waitFor(() => countConnections(app.server).connections === 0)
    expect(countConnections({})).toEqual({ connections: 0, idle: 0 })
  })
})

describe('what packages publish', () => {
  it('is counted, by a word that tells the outcome and never by what grows without end', async () => {
    const loaded = createChannel<{ key: string; outcome?: string; ms?: number }>('pkg', 'load')
    const app = await start()
    const late = createChannel<{ key: string }>('pkg', 'late')
    loaded.publish(() => ({ key: 'a', outcome: 'filled', ms: 250 }))
    loaded.publish(() => ({ key: 'b', outcome: 'filled', ms: 250 }))
    for (let i = 0; i < 100; i++) loaded.publish(() => ({ key: 'c', outcome: `word-${i}` }))
    for (let i = 0; i < 100; i++) late.publish(() => ({ key: `key-${i}` }))
    const text = await scrape(app)
    const line = (event: string, detail: string): string => `{package="pkg",event="${event}",detail="${detail}"}`
    expect(valueOf(text, `fastify_scale_events_total${line('load', 'filled')}`)).toBe(2)
    expect(valueOf(text, `fastify_scale_event_seconds_total${line('load', 'filled')}`)).toBe(0.5)
    expect(valueOf(text, `fastify_scale_events_total${line('load', 'other')}`)).toBe(69)
    expect(valueOf(text, `fastify_scale_events_total${line('late', '')}`)).toBe(100)
    await app.close()
    // Nobody listens any more, so the message is not even made.
    loaded.publish(() => {
      throw new Error('somebody listens')
    })
  })
})

describe('merged over workers', () => {
  const counter = (value: number): unknown[] => [
    { name: 'c', help: 'c', type: 'counter', aggregator: 'sum', values: [{ labels: { a: 'b' }, value }] },
    { name: 'g', help: 'g', type: 'gauge', aggregator: 'max', values: [{ labels: {}, value }] },
  ]
  function worker(id: number, answer: () => unknown): { id: number; slot: number; peer: Peer; own: Peer } {
    const [near, far] = createPortPair()
    const own = createPeer(near)
    own.onCall('metrics.snapshot', answer)
    return { id, slot: id, peer: createPeer(far), own }
  }

  it('sums counters, flags the worker that is silent or talks nonsense, and keeps the rest', async () => {
    let answer: () => unknown = () => counter(5)
    const workers = [worker(0, () => counter(1)), worker(1, () => counter(2)), worker(2, () => answer())]
    const collector = createMetricsCollector({ workers: () => workers, timeout: 100 })
    expect(valueOf(await collector.text(), 'c{a="b"}')).toBe(8)
    for (const bad of [
      () => new Promise(() => undefined),
      () => 'nonsense',
      () => [{ name: 'c', type: 'counter', values: [{ labels: null, value: 1 }] }],
      () => [{ ...(counter(1)[0] as object), aggregator: 'no such' }],
      () => [null],
      () => {
        throw new Error('broken')
      },
    ]) {
      answer = bad
      const text = await collector.text()
      // A sum must not go down because a worker is silent; a gauge must not tell what was.
      expect(valueOf(text, 'c{a="b"}')).toBe(8)
      expect(valueOf(text, 'g')).toBe(2)
      expect(valueOf(text, 'fastify_scale_worker_silent{slot="1"}')).toBe(0)
      expect(valueOf(text, 'fastify_scale_worker_silent{slot="2"}')).toBe(1)
    }
  })

  it('never lets sums go down when workers are replaced', async () => {
    let workers = [worker(0, () => counter(3))]
    const collector = createMetricsCollector({ workers: () => workers, timeout: 1_000 })
    for (const one of workers) collector.attach(one)
    expect(valueOf(await collector.text(), 'c{a="b"}')).toBe(3)
    for (let id = 1; id <= 3; id++) {
      const [old] = workers as [ReturnType<typeof worker>]
      old.own.note('metrics.final', counter(4))
      const next = worker(id, () => counter(1))
      collector.attach(next)
      await new Promise((resolve) => setImmediate(resolve))
      workers = [next]
      collector.detach(old.id)
      const text = await collector.text()
      expect(valueOf(text, 'c{a="b"}')).toBe(4 * id + 1)
      expect(valueOf(text, 'g')).toBe(1)
    }
  })

  it('nor the sum and the count of a summary, whose quantiles end with their worker', async () => {
    const summary = (value: number): unknown[] => [
      {
        name: 's',
        help: 's',
        type: 'summary',
        aggregator: 'sum',
        values: [
          { labels: { quantile: 0.5 }, value },
          { metricName: 's_sum', labels: {}, value },
          { metricName: 's_count', labels: {}, value },
        ],
      },
    ]
    let workers = [worker(0, () => summary(3))]
    const collector = createMetricsCollector({ workers: () => workers, timeout: 1_000 })
    await collector.text()
    workers = [worker(1, () => summary(1))]
    collector.detach(0)
    const text = await collector.text()
    expect(valueOf(text, 's_sum')).toBe(4)
    expect(valueOf(text, 's_count')).toBe(4)
    expect(valueOf(text, 's{quantile="0.5"}')).toBe(1)
  })

  it('does not count a worker twice that ends while it is asked', async () => {
    let end: () => void = () => undefined
    const ending = worker(0, () => {
      end()
      return counter(7)
    })
    const slow = worker(1, () => new Promise((resolve) => setTimeout(() => resolve(counter(1)), 50)))
    const collector = createMetricsCollector({ workers: () => [ending, slow], timeout: 1_000 })
    collector.attach(ending)
    end = () => setTimeout(() => collector.detach(0), 20)
    expect(valueOf(await collector.text(), 'c{a="b"}')).toBe(8)
  })

  it('asks once for many scrapes at a time', async () => {
    let asked = 0
    const workers = [worker(0, () => counter(++asked))]
    const collector = createMetricsCollector({ workers: () => workers })
    await Promise.all(Array.from({ length: 20 }, () => collector.text()))
    expect(asked).toBe(1)
  })
})
