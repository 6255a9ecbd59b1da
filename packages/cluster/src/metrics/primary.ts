import type { Primary } from '../primary/types.ts'
import type { MetricSnapshot } from './snapshot.ts'

/** What the launcher counts itself. */
export function primaryMetrics(primary: Primary): MetricSnapshot[] {
  const { counters } = primary
  const counter = (name: string, help: string, value: number): MetricSnapshot => ({
    name: `fastify_scale_${name}_total`,
    help,
    type: 'counter',
    values: [{ labels: {}, value }],
  })
  const states = { starting: 0, ready: 0, draining: 0, gone: 0 }
  for (const worker of primary.workers()) states[worker.state]++
  return [
    counter('reloads', 'Reloads that were begun.', counters.reloads),
    counter('reload_failures', 'Reloads that were given up.', counters.failedReloads),
    counter('worker_crashes', 'Workers that ended unasked.', counters.crashes),
    counter('worker_hangs', 'Workers replaced because their event loop did not answer.', counters.hangs),
    counter('worker_kills', 'Workers ended by force at the drain deadline.', counters.killed),
    counter('connections_moved', 'Idle connections handed over to another worker.', counters.moved),
    counter('connections_rescued', 'Connections of a dead worker given to another.', counters.rescued),
    {
      name: 'fastify_scale_workers',
      help: 'Worker processes, by state.',
      type: 'gauge',
      values: (['starting', 'ready', 'draining'] as const).map((state) => ({
        labels: { state },
        value: states[state],
      })),
    },
    {
      name: 'fastify_scale_slots',
      help: 'Workers that there should be.',
      type: 'gauge',
      values: [{ labels: {}, value: primary.slots.length }],
    },
    {
      name: 'fastify_scale_primary_resident_memory_bytes',
      help: 'Resident memory of the launcher.',
      type: 'gauge',
      values: [{ labels: {}, value: process.memoryUsage.rss() }],
    },
  ]
}
