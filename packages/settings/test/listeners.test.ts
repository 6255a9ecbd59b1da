import { waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import scaleSettings, { type SettingsOptions } from '../src/index.ts'
import { schema, useSettings } from './helpers.ts'

const bench = useSettings()

test('a listener that throws or stops itself does not disturb the others', async () => {
  const settings = bench.settings(await bench.start())
  const seen: unknown[] = []
  settings.onChange('limit', () => {
    throw new Error('listener')
  })
  const stop = settings.onChange('limit', (value) => {
    seen.push(['once', value])
    stop()
  })
  settings.onChange('limit', (value) => seen.push(['always', value]))
  await settings.set('limit', 1)
  await settings.set('limit', 2)
  expect(seen).toEqual([
    ['once', 1],
    ['always', 1],
    ['always', 2],
  ])
})

test('a function that listens twice is two listeners, and who is stopped hears nothing any more', async () => {
  const settings = bench.settings(await bench.start())
  const seen: unknown[] = []
  const listener = (value: unknown): number => seen.push(value)
  const stop = settings.onChange('limit', listener)
  settings.onChange('limit', listener)
  await settings.set('limit', 1)
  stop()
  await settings.set('limit', 2)
  expect(seen).toEqual([1, 1, 2])
  settings.onChange('mail', () => stopLast())
  const stopLast = settings.onChange('mail', listener)
  await settings.set('mail', 'you@example.org')
  expect(seen).toEqual([1, 1, 2])
})

test('an async listener that rejects is logged, and ends no process', async () => {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: (line) => void lines.push(line) } } })
  await app.register(scaleSettings, { redis: bench.redis.url, schema, prefix: bench.prefix } as SettingsOptions)
  const settings = bench.settings(app)
  settings.onChange('limit', async (value) => {
    await Promise.resolve()
    throw new Error(`resize to ${String(value)} failed`)
  })
  await settings.set('limit', 7)
  await waitFor(() => lines.some((line) => line.includes('resize to 7 failed')))
  await settings.set('limit', 8)
  expect(settings.get('limit')).toBe(8)
  await app.close()
})
