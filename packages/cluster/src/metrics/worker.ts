import type { FastifyInstance } from 'fastify'
import { countAborts } from './aborts.ts'
import { countConnections } from './connections.ts'
import { countEvents } from './events.ts'
import { createHttpRecorder } from './http.ts'
import { watchProcess } from './process.ts'
import { recordResponses } from './responses.ts'
import type { MetricSnapshot, MetricSource } from './snapshot.ts'
import { createSources } from './sources.ts'

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

/** Counts requests only: what `status` needs, at the price of an addition. The app's own metrics are there as ever. */
export function countRequests(app: FastifyInstance, onError: (error: unknown) => void): WorkerMetrics {
  const aborts = countAborts(app.server)
  const sources = createSources(onError)
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
    snapshot: () => sources.read(),
    add: sources.add,
    stop() {
      app.server.off('request', onRequest)
      aborts.stop()
    },
  }
}

/** Hooks into every route of the app. `onError` hears of the app's own metrics that can't be had. */
export function measureWorker(app: FastifyInstance, slot: number, onError: (error: unknown) => void): WorkerMetrics {
  const recorder = createHttpRecorder()
  const process = watchProcess(slot)
  const events = countEvents()
  const aborts = countAborts(app.server)
  const sources = createSources(onError)
  const stopRecording = recordResponses(app, recorder)

  return {
    stats() {
      const { requests, p99 } = recorder.take()
      return { requests, aborted: aborts.count(), ...(p99 === undefined ? {} : { p99 }) }
    },
    async snapshot() {
      const { connections, idle } = countConnections(app.server)
      const label = String(slot)
      const measured = process.snapshot()
      return [
        ...recorder.snapshot(),
        ...measured,
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
        ...(await sources.read(measured)),
      ]
    },
    add: sources.add,
    stop() {
      stopRecording()
      process.stop()
      events.stop()
      aborts.stop()
    },
  }
}
