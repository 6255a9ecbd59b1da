import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { waitFor } from '@fastify-scale/dev-services'
import { createRealtimeClient } from '@fastify-scale/realtime/client'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeExchange } from './exchange.ts'
import { type Label, type Tokens, createPair } from './pair.ts'
import { buildRelease, previousCommit, today } from './release.ts'

const commit = previousCommit()
const roots: Record<Label, string> = { old: today, new: today }
const pair = createPair()
const { ask, start, stop, processes } = pair
let notes: Redis

beforeAll(async () => {
  if (commit !== undefined) roots.old = await buildRelease(commit)
  await pair.open({ old: { root: roots.old }, new: { root: roots.new } })
  notes = new Redis(pair.redis.url)
}, 300_000)

afterAll(async () => {
  notes?.disconnect()
  await pair.close()
}, 120_000)

test('an earlier release is there to run beside', ({ skip }) => {
  if (commit === undefined)
    skip('NOT TESTED: git has no earlier commit here, today was run beside itself; git fetch --unshallow brings it')
  expect(roots.old).not.toBe(roots.new)
})

const beside = commit === undefined ? 'itself, for want of history' : `commit ${commit.slice(0, 7)}`

describeExchange(`today beside ${beside}`, pair)

type Client = ReturnType<typeof createRealtimeClient<{ order: (order: { n: number }) => void }, Record<string, never>>>

/** A client of one release, in the room of orders. */
async function openPage(library: Label, url: string, token: string) {
  const module = pathToFileURL(join(roots[library], 'packages/realtime/dist/client.js')).href
  const { createRealtimeClient: create } = (await import(/* @vite-ignore */ module)) as {
    createRealtimeClient: typeof createRealtimeClient
  }
  const socket: Client = create(url, { getToken: () => token })
  const seen: number[] = []
  let resyncs = 0
  socket.on('order', ({ n }) => seen.push(n))
  socket.onResync(() => resyncs++)
  await socket.join('orders:1')
  return { seen, resyncs: () => resyncs, close: () => void socket.disconnect() }
}

describe(`live messages, today beside ${beside}`, () => {
  test('clients of both releases at processes of both releases get all messages of both, in one order', async () => {
    const { body } = await ask<Tokens>('old', '/login', { sub: 'anna' })
    const pages = await Promise.all(
      (['old', 'new'] as const).flatMap((library) =>
        (['old', 'new'] as const).map((server) => openPage(library, processes[server].url, body.accessToken)),
      ),
    )
    const sent = Array.from({ length: 20 }, (_, n) => n)
    for (const n of sent) await ask(n % 2 === 0 ? 'old' : 'new', '/publish', { n })
    for (const page of pages) {
      await waitFor(() => page.seen.length >= sent.length)
      expect([page.seen, page.resyncs()]).toEqual([sent, 0])
      page.close()
    }
  })

  test.each(['old', 'new'] as const)(
    'a client of %s misses nothing while its process is replaced by the new release, and by the old one again',
    async (library) => {
      const { body } = await ask<Tokens>('new', '/login', { sub: 'anna' })
      let place = await start('old')
      const page = await openPage(library, place.url, body.accessToken)
      let sent = 0
      const publish = async (label: Label) => ask(label, '/publish', { n: 100 + sent++ })
      await publish('new')
      for (const release of ['new', 'old'] as const) {
        await stop(place)
        await publish('old')
        await publish('new')
        place = await start(release, place.port)
        await publish('new')
        const expected = Array.from({ length: sent }, (_, i) => 100 + i)
        await waitFor(() => page.seen.length >= sent, { timeout: 30_000 })
        expect([page.seen, page.resyncs()]).toEqual([expected, 0])
      }
      page.close()
      await stop(place)
    },
    120_000,
  )
})

describe(`once in the cluster, today beside ${beside}`, () => {
  test('a tick of cron is one job', async () => {
    await notes.del('ticks')
    await waitFor(async () => (await notes.llen('ticks')) >= 5, { timeout: 30_000 })
    const ticks = await notes.lrange('ticks', 0, -1)
    expect(new Set(ticks).size).toBe(ticks.length)
  })

  test('a singleton runs in one process, and moves to the other release when that one ends, and back', async () => {
    const holders = () => notes.lrange('holders', 0, -1)
    await waitFor(async () => (await holders()).length > 0)
    const first = (await holders()).at(-1) as Label
    const other = first === 'old' ? 'new' : 'old'
    let count = (await holders()).length
    await stop(processes[first], 'SIGKILL')
    await waitFor(async () => (await holders()).length > count, { timeout: 30_000 })
    expect((await holders()).slice(count)).toEqual([other])
    processes[first] = await start(first)
    count++
    await stop(processes[other])
    await waitFor(async () => (await holders()).length > count, { timeout: 30_000 })
    expect((await holders()).slice(count)).toEqual([first])
  }, 120_000)
})
