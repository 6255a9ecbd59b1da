import diagnostics from 'node:diagnostics_channel'
import { onChannel } from '@fastify-scale/kit'
import type { MetricSnapshot } from './snapshot.ts'

/** Counts what the packages publish on their `fastify-scale:<package>:<event>` channels, whatever they are. */
export interface EventCounter {
  snapshot(): MetricSnapshot[]
  stop(): void
}

interface Tally {
  labels: { package: string; event: string; detail: string }
  count: number
  seconds: number | undefined
}

/** Fields that hold one of a few words. Others (keys, ids, addresses, texts of errors) would make a series each. */
const DETAIL_FIELDS = ['outcome', 'result', 'level', 'code', 'kind', 'event', 'encoding', 'limit', 'state'] as const
/** Beyond so many different details of one channel the rest is `other`. */
const MAX_DETAILS = 32

export function countEvents(): EventCounter {
  const tallies = new Map<string, Map<string, Tally>>()
  const subscriptions: [name: string, listener: (message: unknown) => void][] = []

  const stop = onChannel((name) => {
    const [, packageName = '', event = ''] = name.split(':')
    const details = new Map<string, Tally>()
    tallies.set(name, details)
    const listener = (message: unknown): void => {
      let detail = detailOf(message)
      if (!details.has(detail) && details.size >= MAX_DETAILS) detail = 'other'
      let tally = details.get(detail)
      if (!tally) {
        tally = { labels: { package: packageName, event, detail }, count: 0, seconds: undefined }
        details.set(detail, tally)
      }
      tally.count++
      const { ms } = (message ?? {}) as { ms?: unknown }
      if (typeof ms === 'number' && ms >= 0) tally.seconds = (tally.seconds ?? 0) + ms / 1_000
    }
    diagnostics.subscribe(name, listener)
    subscriptions.push([name, listener])
  })

  return {
    snapshot() {
      const all = [...tallies.values()].flatMap((details) => [...details.values()])
      return [
        {
          name: 'fastify_scale_events_total',
          help: 'What the packages published on their diagnostics channels.',
          type: 'counter',
          values: all.map(({ labels, count }) => ({ labels, value: count })),
        },
        {
          name: 'fastify_scale_event_seconds_total',
          help: 'Time that these events took together, for those that tell it.',
          type: 'counter',
          values: all.flatMap(({ labels, seconds }) => (seconds === undefined ? [] : [{ labels, value: seconds }])),
        },
      ]
    },
    stop() {
      stop()
      for (const [name, listener] of subscriptions) diagnostics.unsubscribe(name, listener)
    },
  }
}

function detailOf(message: unknown): string {
  if (typeof message !== 'object' || message === null) return ''
  const fields = message as Record<string, unknown>
  for (const field of DETAIL_FIELDS) {
    const value = fields[field]
    if (typeof value === 'string' && /^[\w.:-]{1,40}$/.test(value)) return value
  }
  return ''
}
