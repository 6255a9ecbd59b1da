import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import scaleRealtime from '@fastify-scale/realtime'
import { type RealtimeClient, createRealtimeClient } from '@fastify-scale/realtime/client'
import fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, expect, test } from 'vitest'

// Compiled with the app alone: its events are not those that the packages' own tests declare.
const { announcePresence } = (await import('../src/presence.ts' as string)) as {
  announcePresence(app: FastifyInstance): void
}
const BOARD = 'board:main'

interface Events {
  present: (names: string[]) => void
}
type Page = RealtimeClient<Events, object> & { shown: string[][] }

let redis: RedisServer
const ended = new AbortController()
const workers: FastifyInstance[] = []
const urls: string[] = []
const pages: Page[] = []

/** A worker with what presence needs of the app: realtime, a table of names, and whether it is the one that announces. */
async function startWorker(announces: boolean): Promise<void> {
  const app = fastify()
  await app.register(scaleRealtime, {
    redis: redis.url,
    authenticate: ({ token }) => ({ sub: token as string }),
    authorizeRoom: () => true,
    rooms: { [BOARD]: { history: 500, ttl: '2m' } },
  })
  app.decorate('db', {
    query: async (_sql: unknown, [ids]: [string[]]) => ({ rows: ids.map((name) => ({ name })) }),
  } as never)
  app.decorate('cluster', {
    singleton: (_name: string, run: (context: { signal: AbortSignal }) => unknown) =>
      announces && run({ signal: ended.signal }),
  } as never)
  announcePresence(app as unknown as FastifyInstance)
  workers.push(app as unknown as FastifyInstance)
  urls.push(await app.listen({ port: 0, host: '127.0.0.1' }))
}

async function openPage(worker: number, name: string): Promise<Page> {
  const socket = createRealtimeClient<Events, object>(urls[worker] as string, {
    getToken: () => name,
    socket: { forceNew: true },
  })
  const page = Object.assign(socket, { shown: [] as string[][] })
  pages.push(page)
  page.on('present', (names) => page.shown.push(names))
  await page.join(BOARD)
  return page
}

beforeAll(async () => {
  redis = await startRedis()
  await startWorker(true)
  await startWorker(false)
})

afterAll(async () => {
  ended.abort()
  for (const page of pages) page.disconnect()
  await Promise.all(workers.map((worker) => worker.close()))
  await redis?.stop()
})

test('every page shows who is here, one that changes nothing too', async () => {
  const first = await openPage(0, 'anna')
  await waitFor(() => first.shown.at(-1)?.join() === 'anna')
  // The same user in another browser, on another worker.
  const second = await openPage(1, 'anna')
  await waitFor(() => second.shown.at(-1)?.join() === 'anna')
  // A page that is loaded anew is another socket, and as many as before.
  second.disconnect()
  const reloaded = await openPage(1, 'anna')
  await waitFor(() => reloaded.shown.at(-1)?.join() === 'anna')
  await openPage(1, 'ben')
  await waitFor(() => [first, reloaded].every(({ shown }) => shown.at(-1)?.join() === 'anna,ben'))
  expect(second.shown.flat()).not.toContain('ben')
})
