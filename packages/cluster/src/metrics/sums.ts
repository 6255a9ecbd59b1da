import type { MetricSnapshot, MetricValue } from './snapshot.ts'

/** Adds up counters and histograms, value by value. */
export interface Sums {
  add(metrics: readonly MetricSnapshot[]): void
  snapshot(): MetricSnapshot[]
}

export function createSums(): Sums {
  const metrics = new Map<string, { metric: MetricSnapshot; values: Map<string, MetricValue> }>()

  return {
    add(added) {
      for (const metric of added) {
        let sum = metrics.get(metric.name)
        if (!sum) metrics.set(metric.name, (sum = { metric, values: new Map() }))
        for (const value of metric.values) {
          const key = keyOf(value)
          const before = sum.values.get(key)
          if (before) before.value += value.value
          else sum.values.set(key, { ...value })
        }
      }
    },
    snapshot: () => [...metrics.values()].map(({ metric, values }) => ({ ...metric, values: [...values.values()] })),
  }
}

function keyOf({ labels, metricName = '' }: MetricValue): string {
  return JSON.stringify([metricName, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))])
}
