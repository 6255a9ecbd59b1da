import type { FastifyInstance } from 'fastify'
import { countAborts } from './aborts.ts'
import { countConnections } from './connections.ts'
import { countEvents } from './events.ts'
import { createHttpRecorder } from './http.ts'
import { watchProcess } from './process.ts'
import { recordResponses } from './responses.ts'
import { finiteOnly, isSnapshot, type MetricSnapshot, type MetricSource } from './snapshot.ts'

/** What `status` shows of a worker. */
export interface WorkerStats {
  /** Answered requests, and their 99th percentile in ms, since this was asked last. */
  requests: number
  p99?: number
  /** Requests whose connection ended before they were answered, since the worker began. */
  aborted: number
}

/** What one worker measures. */
export interface WorkerMetrics {
  stats(): WorkerStats
  snapshot(): Promise<MetricSnapshot[]>
  add(source: MetricSource): void
  stop(): void
}

/** Counts requests only: what `status` needs, at the price of an addition. */
export function countRequests(app: FastifyInstance): WorkerMetrics {
  const aborts = countAborts(app.server)
  let requests = 0
  let taken = 0
  const onRequest = (): void => void requests++
  app.server.on('request', onRequest)
  return {
    stats() {
      const since = requests - taken
      taken = requests
      return { requests: since, aborted: aborts.count() }
    },
    snapshot: async () => [],
    add: () => undefined,
    stop() {
      app.server.off('request', onRequest)
      aborts.stop()
    },
  }
}

/** Hooks into every route of the app. `onError` hears of sources that fail; they do not fail the rest. */
export function measureWorker(app: FastifyInstance, slot: number, onError: (error: unknown) => void): WorkerMetrics {
  const recorder = createHttpRecorder()
  const process = watchProcess(slot)
  const events = countEvents()
  const aborts = countAborts(app.server)
  const sources: MetricSource[] = []
  const told = new Set<string>()

  const stopRecording = recordResponses(app, recorder)

  function onDropped(name: string, value: number): void {
    // Once: it may well be so at each scrape.
    if (told.has(name)) return
    told.add(name)
    onError(new RangeError(`metric '${name}' has a value that is no finite number: ${value}; it is left out`))
  }

  async function read(source: MetricSource): Promise<MetricSnapshot[]> {
    try {
      const metrics = await source.getMetricsAsJSON()
      if (isSnapshot(metrics)) return finiteOnly(metrics, onDropped)
      onError(new TypeError('getMetricsAsJSON() must give what that of prom-client gives'))
    } catch (error) {
      onError(error)
    }
    return []
  }

  return {
    stats() {
      const { requests, p99 } = recorder.take()
      return { requests, aborted: aborts.count(), ...(p99 === undefined ? {} : { p99 }) }
    },
    async snapshot() {
      const { connections, idle } = countConnections(app.server)
      const label = String(slot)
      return [
        ...recorder.snapshot(),
        ...process.snapshot(),
        ...events.snapshot(),
        {
          name: 'http_requests_aborted_total',
          help: 'Requests whose connection ended before they were answered in full.',
          type: 'counter',
          values: [{ labels: {}, value: aborts.count() }],
        },
        {
          name: 'http_connections',
          help: 'Open connections; idle ones have no request.',
          type: 'gauge',
          values: [
            { labels: { slot: label, state: 'active' }, value: connections - idle },
            { labels: { slot: label, state: 'idle' }, value: idle },
          ],
        },
        ...(await Promise.all(sources.map(read))).flat(),
      ]
    },
    add: (source) => void sources.push(source),
    stop() {
      stopRecording()
      process.stop()
      events.stop()
      aborts.stop()
    },
  }
}
