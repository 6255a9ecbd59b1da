import { histogramValues, type MetricSnapshot, type MetricValue } from './snapshot.ts'

/** Upper bounds of the latency buckets, in seconds. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]

/** A route as far as recording goes: any object that is the same for each request of the route. */
export interface RouteKey {
  url?: string
}

/** Counts requests and their latency by method, route and class of status. */
export interface HttpRecorder {
  /** Records one answered request. `ms` is its latency. */
  record(route: RouteKey, method: string, statusCode: number, ms: number): void
  /** Requests and the 99th percentile of latency (ms) since this was last called. */
  take(): { requests: number; p99: number | undefined }
  snapshot(): MetricSnapshot[]
}

/** One combination of method, route and class of status. */
interface Series {
  method: string
  statusClass: number
  labels: Record<string, string>
  counts: Uint32Array
  sum: number
}

/** Beyond so many series the rest is counted under the route `(other)`: a scrape must stay small whatever the app does. */
const MAX_SERIES = 2_000
const NOT_FOUND = '(not found)'

/** Recent latencies on a logarithmic scale: eight steps for each doubling, from 1/64 ms to about 4 minutes. */
const STEPS = 8
const LOWEST = 6
const SCALE_SIZE = (LOWEST + 18) * STEPS

export function createHttpRecorder(): HttpRecorder {
  // Found by the route's own object: nothing is hashed and no label text is made on a request's way.
  const byRoute = new WeakMap<RouteKey, Series[]>()
  const all = new Map<string, Series>()
  const recent = new Uint32Array(SCALE_SIZE)
  let recentCount = 0

  function addSeries(key: RouteKey, method: string, statusClass: number): Series {
    const route = all.size < MAX_SERIES ? (key.url ?? NOT_FOUND) : '(other)'
    const labels = { method, route, status: `${statusClass}xx` }
    const id = `${method} ${statusClass} ${route}`
    let series = all.get(id)
    if (!series) {
      series = { method, statusClass, labels, counts: new Uint32Array(LATENCY_BOUNDS.length + 1), sum: 0 }
      all.set(id, series)
    }
    const list = byRoute.get(key)
    if (list) list.push(series)
    else byRoute.set(key, [series])
    return series
  }

  return {
    record(route, method, statusCode, ms) {
      const statusClass = (statusCode / 100) | 0
      let series: Series | undefined
      const list = byRoute.get(route)
      if (list) {
        for (const one of list) {
          if (one.statusClass === statusClass && one.method === method) {
            series = one
            break
          }
        }
      }
      series ??= addSeries(route, method, statusClass)
      const seconds = ms / 1_000
      let bucket = 0
      while (bucket < LATENCY_BOUNDS.length && seconds > (LATENCY_BOUNDS[bucket] as number)) bucket++
      series.counts[bucket] = (series.counts[bucket] as number) + 1
      series.sum += seconds
      const step = stepOf(ms)
      recent[step] = (recent[step] as number) + 1
      recentCount++
    },
    take() {
      const requests = recentCount
      if (requests === 0) return { requests, p99: undefined }
      let left = Math.ceil(requests * 0.99)
      let step = 0
      while (step < SCALE_SIZE - 1 && (left -= recent[step] as number) > 0) step++
      recent.fill(0)
      recentCount = 0
      return { requests, p99: upperBound(step) }
    },
    snapshot() {
      const counts: MetricValue[] = []
      const latencies: MetricValue[] = []
      for (const { labels, counts: buckets, sum } of all.values()) {
        const values = histogramValues('http_request_duration_seconds', labels, LATENCY_BOUNDS, buckets, sum)
        latencies.push(...values)
        counts.push({ labels, value: (values.at(-1) as MetricValue).value })
      }
      return [
        { name: 'http_requests_total', help: 'Requests answered.', type: 'counter', values: counts },
        {
          name: 'http_request_duration_seconds',
          help: 'Time from the head of the request to the end of the response.',
          type: 'histogram',
          values: latencies,
        },
      ]
    },
  }
}

function stepOf(ms: number): number {
  const step = Math.floor((Math.log2(ms) + LOWEST) * STEPS)
  // A latency of 0 gives -Infinity.
  return step > 0 ? Math.min(step, SCALE_SIZE - 1) : 0
}

function upperBound(step: number): number {
  return 2 ** ((step + 1) / STEPS - LOWEST)
}
