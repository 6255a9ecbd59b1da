import type { Peer } from '../bus.ts'
import { cumulative, isSnapshot, type MetricSnapshot } from './snapshot.ts'
import { createSums } from './sums.ts'

/** A worker as far as metrics go. */
export interface MetricsWorker {
  id: number
  slot: number
  peer: Peer
}

/** Merges what the workers count. */
export interface MetricsCollector {
  /** Everything as Prometheus text. A worker that does not answer in time is flagged; its last counts stay in the sums. */
  text(): Promise<string>
  /** Listens to what a worker says last, so that nothing that it counted is lost when it is replaced. */
  attach(worker: MetricsWorker): void
  /** Keeps the counts of a worker that is gone: sums never go down because a worker was replaced. */
  detach(id: number): void
}

export interface CollectorOptions {
  /** Those that are up now. */
  workers(): Iterable<MetricsWorker>
  /** What the primary counts itself. */
  own?(): MetricSnapshot[]
  /** How long a worker may take, in ms. Default 1,000. */
  timeout?: number
}

const AGGREGATORS = new Set([undefined, 'sum', 'first', 'omit', 'average', 'min', 'max'])

export function createMetricsCollector({ workers, own, timeout = 1_000 }: CollectorOptions): MetricsCollector {
  const last = new Map<number, MetricSnapshot[]>()
  const retired = createSums()
  let scrape: Promise<string> | undefined

  function take(id: number, data: unknown): MetricSnapshot[] | undefined {
    if (!isSnapshot(data) || data.some((metric) => !AGGREGATORS.has(metric.aggregator))) return undefined
    last.set(id, data)
    return data
  }

  async function collect(): Promise<string> {
    const silent: MetricsWorker[] = []
    const asked = [...workers()]
    const parts = await Promise.all(
      asked.map(async (worker) => {
        const data = await worker.peer.call('metrics.snapshot', null, timeout).catch(() => undefined)
        const snapshot = take(worker.id, data)
        if (snapshot) return snapshot
        silent.push(worker)
        // Counts may be old, they must not go down; what a gauge said then is not so now.
        return (last.get(worker.id) ?? []).flatMap(cumulative)
      }),
    )
    // Workers that end while we ask are in `retired` by now: what they answered would count twice.
    const current = parts.filter((_, i) => last.has((asked[i] as MetricsWorker).id))
    const flags: MetricSnapshot = {
      name: 'fastify_scale_worker_silent',
      help: '1 where a worker did not tell its metrics in time.',
      type: 'gauge',
      values: asked.map((worker) => ({
        labels: { slot: String(worker.slot) },
        value: silent.includes(worker) ? 1 : 0,
      })),
      aggregator: 'max',
    }
    return textOf([retired.snapshot(), ...current, own?.() ?? [], [flags]])
  }

  return {
    text: () => (scrape ??= collect().finally(() => (scrape = undefined))),
    attach({ id, peer }) {
      peer.onNote('metrics.final', (data) => void take(id, data))
    },
    detach(id) {
      const snapshot = last.get(id)?.flatMap(cumulative)
      last.delete(id)
      if (snapshot) retired.add(snapshot)
    },
  }
}

/**
 * By prom-client: values with the same name and labels are merged in the way that the metric says. Loaded when somebody
 * asks for the first time.
 */
async function textOf(parts: MetricSnapshot[][]): Promise<string> {
  const { default: promClient } = await import('prom-client')
  // What has no aggregator is summed, as prom-client's documentation has it; its code wants it said.
  const said = parts.map((metrics) => metrics.map((metric) => ({ ...metric, aggregator: metric.aggregator ?? 'sum' })))
  return promClient.AggregatorRegistry.aggregate(said).metrics()
}
