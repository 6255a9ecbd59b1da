/**
 * One metric as it travels from a worker to the primary: what prom-client's `getMetricsAsJSON()` gives, so that an app's
 * own registries join unchanged.
 */
export interface MetricSnapshot {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  values: MetricValue[]
  /** How prom-client merges values with the same labels. Default `sum`. */
  aggregator?: string
}

export interface MetricValue {
  labels: Record<string, string | number>
  value: number
  /** Of histograms and summaries: the name with `_bucket`, `_sum` or `_count`. */
  metricName?: string
}

/** Whatever can say its metrics; prom-client's `Registry` can. */
export interface MetricSource {
  getMetricsAsJSON(): Promise<unknown[]>
}

/** Bucket counts, not cumulative, to the cumulative values of a Prometheus histogram. */
export function histogramValues(
  name: string,
  labels: Record<string, string>,
  bounds: readonly number[],
  counts: ArrayLike<number>,
  sum: number,
): MetricValue[] {
  const values: MetricValue[] = []
  let total = 0
  for (let i = 0; i <= bounds.length; i++) {
    total += counts[i] ?? 0
    values.push({ labels: { le: bounds[i] ?? '+Inf', ...labels }, value: total, metricName: `${name}_bucket` })
  }
  values.push({ labels, value: sum, metricName: `${name}_sum` })
  values.push({ labels, value: total, metricName: `${name}_count` })
  return values
}

/** The part of a metric that only goes up. The quantiles of a summary are of its worker, its sum and its count are not. */
export function cumulative(metric: MetricSnapshot): MetricSnapshot[] {
  const { name, type, aggregator = 'sum', values } = metric
  if (aggregator !== 'sum' || type === 'gauge') return []
  if (type !== 'summary') return [metric]
  return [
    {
      ...metric,
      values: values.filter(({ metricName }) => metricName === `${name}_sum` || metricName === `${name}_count`),
    },
  ]
}

/** Without values that JSON can't carry, such as the ratio 0 / 0. `onDropped` hears of each. */
export function finiteOnly(
  metrics: readonly MetricSnapshot[],
  onDropped: (name: string, value: number) => void,
): MetricSnapshot[] {
  return metrics.map((metric) => {
    const values = metric.values.filter(({ value }) => {
      if (!Number.isFinite(value)) onDropped(metric.name, value)
      return Number.isFinite(value)
    })
    return values.length === metric.values.length ? metric : { ...metric, values }
  })
}

/** True where a snapshot that came over the channel has the shape that merging needs. */
export function isSnapshot(data: unknown): data is MetricSnapshot[] {
  return (
    Array.isArray(data) &&
    data.every(
      (metric: Partial<MetricSnapshot> | null) =>
        typeof metric === 'object' &&
        metric !== null &&
        typeof metric.name === 'string' &&
        typeof metric.type === 'string' &&
        Array.isArray(metric.values) &&
        metric.values.every(
          (one) =>
            typeof one === 'object' &&
            one !== null &&
            typeof one.value === 'number' &&
            typeof one.labels === 'object' &&
            one.labels !== null,
        ),
    )
  )
}
