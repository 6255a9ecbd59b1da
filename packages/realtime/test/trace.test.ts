import { AsyncLocalStorage } from 'node:async_hooks'
import { waitFor } from '@fastify-scale/dev-services'
import { expect, it } from 'vitest'
import { type TestClient, connect, publish, startApp, useRedis } from './support.ts'

const redis = useRedis()
const rooms = { 'board:*': { history: 10 } }
const trace = (n: number): string => `00-${String(n).padStart(32, 'a')}-00f067aa0ba902b7-01`

/** What came, and the trace that its listener saw. */
function collectTraces(client: TestClient): [n: number, traceparent: string | undefined, later?: string][] {
  const seen: [number, string | undefined, string?][] = []
  ;(client as unknown as { on(event: string, listener: (n: number, ...rest: unknown[]) => void): void }).on(
    'n',
    (n, ...rest) => {
      // Our own argument is not the listener's.
      expect(rest).toEqual([])
      const entry: (typeof seen)[0] = [n, client.traceparent()]
      seen.push(entry)
      // Nobody else's afterwards.
      queueMicrotask(() => entry.push(client.traceparent() as string))
    },
  )
  return seen
}

it('goes with a message to every process, and with what a client missed', async () => {
  const active = new AsyncLocalStorage<string>()
  const channel = `trace-${Math.random()}`
  const one = await startApp({ redis: redis.url, rooms, channel, traceparent: () => active.getStore() })
  const two = await startApp({ redis: redis.url, rooms, channel })
  const client = await connect(two.url)
  const seen = collectTraces(client)
  await client.join('board:1')
  const send = (n: number, traceparent: string | undefined): Promise<unknown> =>
    active.run(traceparent as string, () => publish(one.app, 'board:1', 'n', n))
  await Promise.all([send(1, trace(1)), send(2, trace(2))])
  await send(3, undefined)
  // Without the option there is none.
  await publish(two.app, 'board:1', 'n', 4)
  await waitFor(() => seen.length === 4)
  expect(seen).toEqual([
    [1, trace(1), undefined],
    [2, trace(2), undefined],
    [3, undefined, undefined],
    [4, undefined, undefined],
  ])
  client.disconnect()
  await send(5, trace(5))
  client.connect()
  await waitFor(() => seen.length === 5)
  expect(seen[4]).toEqual([5, trace(5), undefined])
  expect(client.traceparent()).toBeUndefined()
})

it('is left out where it is none, and never in the way of a message', async () => {
  const answers: unknown[] = ['', 'x', 7, `${trace(1)}\r\nx: y`, trace(1).toUpperCase(), `01${trace(1).slice(2)}`, null]
  const wrong = [...answers, 'throws']
  const { app, url } = await startApp({
    redis: redis.url,
    rooms,
    channel: `trace-${Math.random()}`,
    traceparent: () => {
      const next = wrong.shift()
      if (next === 'throws') throw new Error('the tracer is broken')
      return next as string
    },
  })
  const client = await connect(url)
  const seen = collectTraces(client)
  await client.join('board:2')
  for (let n = 0; n <= answers.length; n++) await publish(app, 'board:2', 'n', n)
  await waitFor(() => seen.length === answers.length + 1)
  expect(wrong).toEqual([])
  expect(seen.map(([n, traceparent]) => [n, traceparent])).toEqual(seen.map((_, n) => [n, undefined]))
})
