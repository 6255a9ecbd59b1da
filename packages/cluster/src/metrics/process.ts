import { constants, monitorEventLoopDelay, PerformanceObserver, performance } from 'node:perf_hooks'
import v8 from 'node:v8'
import { histogramValues, type MetricSnapshot } from './snapshot.ts'

/** Watches this process: event loop, heap, garbage collection, CPU. Names are those of prom-client's default metrics. */
export interface ProcessWatch {
  snapshot(): MetricSnapshot[]
  /** Stops the timers and observers behind it. */
  stop(): void
}

const GC_BOUNDS = [0.001, 0.01, 0.1, 1, 2, 5]
const GC_KINDS = new Map<number, string>([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
])

/** @param slot the worker's slot, the label that tells workers apart without growing for ever */
export function watchProcess(slot: number): ProcessWatch {
  const labels = { slot: String(slot) }
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  let utilization = performance.eventLoopUtilization()
  const collections = new Map<string, { counts: Uint32Array; sum: number }>()
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = GC_KINDS.get((entry as { detail?: { kind?: number } }).detail?.kind ?? 0) ?? 'other'
      let series = collections.get(kind)
      if (!series) collections.set(kind, (series = { counts: new Uint32Array(GC_BOUNDS.length + 1), sum: 0 }))
      const seconds = entry.duration / 1_000
      let bucket = 0
      while (bucket < GC_BOUNDS.length && seconds > (GC_BOUNDS[bucket] as number)) bucket++
      series.counts[bucket] = (series.counts[bucket] as number) + 1
      series.sum += seconds
    }
  })
  observer.observe({ entryTypes: ['gc'] })

  return {
    snapshot() {
      const memory = process.memoryUsage()
      const cpu = process.cpuUsage()
      const now = performance.eventLoopUtilization()
      const { utilization: elu } = performance.eventLoopUtilization(now, utilization)
      utilization = now
      const lag = (percentile: number): number => (delay.count === 0 ? 0 : delay.percentile(percentile) / 1e9)
      const gauge = (name: string, help: string, value: number): MetricSnapshot => ({
        name,
        help,
        type: 'gauge',
        values: [{ labels, value: Number.isFinite(value) ? value : 0 }],
        aggregator: 'max',
      })
      const snapshot: MetricSnapshot[] = [
        gauge('nodejs_eventloop_utilization_ratio', 'Event-loop utilisation since the last scrape, 0 to 1.', elu),
        gauge('nodejs_eventloop_lag_p50_seconds', 'Event-loop delay since the last scrape, median.', lag(50)),
        gauge('nodejs_eventloop_lag_p99_seconds', 'Event-loop delay since the last scrape, 99th percentile.', lag(99)),
        gauge('nodejs_heap_size_total_bytes', 'Heap reserved.', memory.heapTotal),
        gauge('nodejs_heap_size_used_bytes', 'Heap in use.', memory.heapUsed),
        gauge('nodejs_heap_limit_bytes', 'Heap that V8 may use.', v8.getHeapStatistics().heap_size_limit),
        gauge('nodejs_external_memory_bytes', 'Memory outside the heap that JavaScript objects hold.', memory.external),
        gauge('process_resident_memory_bytes', 'Resident memory.', memory.rss),
        gauge('process_start_time_seconds', 'When the process began.', performance.timeOrigin / 1_000),
        {
          name: 'process_cpu_seconds_total',
          help: 'CPU time, user and system.',
          type: 'counter',
          values: [{ labels, value: (cpu.user + cpu.system) / 1e6 }],
        },
        {
          name: 'nodejs_gc_duration_seconds',
          help: 'Garbage collections, by kind.',
          type: 'histogram',
          values: [...collections].flatMap(([kind, { counts, sum }]) =>
            histogramValues('nodejs_gc_duration_seconds', { kind }, GC_BOUNDS, counts, sum),
          ),
        },
      ]
      delay.reset()
      return snapshot
    },
    stop() {
      delay.disable()
      observer.disconnect()
    },
  }
}
