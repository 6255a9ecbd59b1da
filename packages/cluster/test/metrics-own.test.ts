import Fastify from 'fastify'
import promClient from 'prom-client'
import { describe, expect, it } from 'vitest'
import { createPeer, createPortPair } from '../src/bus.ts'
import { createMetricsCollector } from '../src/metrics/collect.ts'
import { measureWorker } from '../src/metrics/worker.ts'
import { apps, scrape, start, valueOf } from './metrics-app.ts'

describe('an app with metrics of its own', () => {
  it('adds its registry; one that fails hurts nothing', async () => {
    const app = await start()
    const register = new promClient.Registry()
    new promClient.Counter({ name: 'orders_total', help: 'Orders.', labelNames: ['kind'], registers: [register] }).inc(
      { kind: 'new' },
      3,
    )
    app.cluster.addMetrics(register)
    app.cluster.addMetrics({ getMetricsAsJSON: () => Promise.reject(new Error('broken')) })
    app.cluster.addMetrics({ getMetricsAsJSON: async () => [{ nonsense: true }] })
    const text = await scrape(app)
    expect(valueOf(text, 'orders_total{kind="new"}')).toBe(3)
    expect(valueOf(text, 'nodejs_heap_size_used_bytes{slot="0"}')).toBeGreaterThan(0)
  })

  it('loses a value that is no finite number, says so once, and keeps the rest', async () => {
    const app = Fastify()
    apps.push(app)
    const errors: string[] = []
    const metrics = measureWorker(app, 0, (error) => errors.push((error as Error).message))
    const registers = [new promClient.Registry()]
    metrics.add(registers[0] as promClient.Registry)
    const ratio = new promClient.Gauge({ name: 'hit_ratio', help: 'r', labelNames: ['cache'], registers })
    ratio.set({ cache: 'new' }, 0 / 0)
    ratio.set({ cache: 'old' }, 0.5)
    new promClient.Gauge({ name: 'wait', help: 'w', registers }).set(Number.POSITIVE_INFINITY)
    new promClient.Counter({ name: 'orders_total', help: 'o', registers }).inc(3)
    const [near, far] = createPortPair()
    // As over the channel of a worker, where neither survives.
    createPeer(near).onCall('metrics.snapshot', async () => JSON.parse(JSON.stringify(await metrics.snapshot())))
    const collector = createMetricsCollector({ workers: () => [{ id: 0, slot: 0, peer: createPeer(far) }] })
    for (let scrapes = 0; scrapes < 2; scrapes++) {
      const text = await collector.text()
      expect(valueOf(text, 'fastify_scale_worker_silent{slot="0"}')).toBe(0)
      expect(valueOf(text, 'orders_total')).toBe(3)
      expect(valueOf(text, 'hit_ratio{cache="old"}')).toBe(0.5)
      expect(valueOf(text, 'nodejs_heap_size_used_bytes{slot="0"}')).toBeGreaterThan(0)
      expect(text).not.toMatch(/NaN|null|^wait .|cache="new"/m)
    }
    expect(errors).toEqual([
      "metric 'hit_ratio' has a value that is no finite number: NaN; it is left out",
      "metric 'wait' has a value that is no finite number: Infinity; it is left out",
    ])
    metrics.stop()
  })

  it('has what the launcher measures itself left out of it: it would count twice', async () => {
    const app = await start()
    const count = (name: string): object => ({
      name,
      help: 'h',
      type: 'histogram',
      values: [{ labels: { kind: 'major' }, metricName: `${name}_count`, value: 1e6 }],
    })
    app.cluster.addMetrics({
      getMetricsAsJSON: async () => [count('nodejs_gc_duration_seconds'), count('job_duration_seconds')],
    })
    const text = await scrape(app)
    expect(valueOf(text, 'job_duration_seconds_count{kind="major"}')).toBe(1e6)
    expect(valueOf(text, 'nodejs_gc_duration_seconds_count{kind="major"}') ?? 0).toBeLessThan(1e6)
  })

  it('whose collecting hangs holds up neither a scrape nor the close, and its counts do not go back', async () => {
    const app = await start()
    let hangs = false
    app.cluster.addMetrics({
      async getMetricsAsJSON() {
        if (hangs) await new Promise(() => undefined)
        return [
          { name: 'orders_total', help: 'o', type: 'counter', values: [{ labels: {}, value: 3 }] },
          { name: 'open_orders', help: 'o', type: 'gauge', values: [{ labels: {}, value: 2 }] },
        ]
      },
    })
    expect(await scrape(app)).toMatch(/^orders_total 3$[^]*^open_orders 2$/m)
    hangs = true
    const text = await scrape(app)
    expect(valueOf(text, 'fastify_scale_worker_silent{slot="0"}')).toBe(0)
    expect(valueOf(text, 'nodejs_heap_size_used_bytes{slot="0"}')).toBeGreaterThan(0)
    expect(valueOf(text, 'orders_total')).toBe(3)
    expect(valueOf(text, 'open_orders')).toBeUndefined()
    const began = performance.now()
    await app.close()
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('has them also with metrics off', async () => {
    const app = await start({ metrics: false })
    const registers = [new promClient.Registry()]
    new promClient.Counter({ name: 'orders_total', help: 'o', registers }).inc(3)
    app.cluster.addMetrics(registers[0] as promClient.Registry)
    app.cluster.addMetrics({ getMetricsAsJSON: () => Promise.reject(new Error('broken')) })
    expect(valueOf(await scrape(app), 'orders_total')).toBe(3)
  })

  it('has nothing but flags with metrics off', async () => {
    const app = await start({ metrics: false })
    await app.inject('/early')
    const text = await scrape(app)
    expect(text).not.toContain('http_requests_total')
    expect(valueOf(text, 'fastify_scale_worker_silent{slot="0"}')).toBe(0)
  })
})
