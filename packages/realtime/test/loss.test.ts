import { startRedis, waitFor } from '@fastify-scale/dev-services'
import { pause } from '@fastify-scale/kit'
import { expect, it } from 'vitest'
import { type Balancer, type ServerProcess, startBalancer, startProcess } from './processes.ts'
import { type TestClient, collect, connect, onEnd, publish, startApp } from './support.ts'

/** SOAK=1: the full figures. */
const MESSAGES = process.env['SOAK'] ? 10_000 : 2_400
const CLIENTS = 20
const RATE = process.env['SOAK'] ? 250 : 400
const OPTIONS = { rooms: { 'board:*': { history: 20_000, ttl: '5m' } }, publishTimeout: '20s' }

interface Witness {
  client: TestClient
  history: number[]
  plain: number[]
  resyncs: number
}

async function witnesses(url: string): Promise<Witness[]> {
  return Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = await connect(url, { socket: { reconnectionDelayMax: 1_000 } })
      const witness: Witness = {
        client,
        history: collect<number>(client, 'n'),
        plain: collect<number>(client, 'plain'),
        resyncs: 0,
      }
      client.onResync(() => witness.resyncs++)
      await Promise.all([client.join('board:1'), client.join('plain')])
      return witness
    }),
  )
}

/** Two processes behind a balancer, and ways to replace both of them, one after the other. */
async function startPair(redis: string): Promise<{
  balancer: Balancer
  replace: (end: (old: ServerProcess) => Promise<unknown>, first: 'start' | 'end') => Promise<void>
}> {
  const start = () => startProcess({ redis, options: OPTIONS })
  const balancer = await startBalancer()
  const pair = await Promise.all([start(), start()])
  const publishPorts = (): void => balancer.set(pair.map(({ port }) => port))
  publishPorts()
  return {
    balancer,
    async replace(end, first) {
      if (first === 'start') {
        // A reload: all replacements are up before the first socket is drained.
        const old = [...pair]
        const next = await Promise.all([start(), start()])
        pair.splice(0, 2, ...next)
        publishPorts()
        for (const one of old) await end(one)
      } else {
        for (const i of [0, 1]) {
          await end(pair[i] as ServerProcess)
          balancer.set([(pair[1 - i] as ServerProcess).port])
          pair[i] = await start()
          publishPorts()
        }
      }
    },
  }
}

/** Publishes 1, 2, 3… at a steady rate, each by itself, as requests would, until all `trouble` is over. Returns how many. */
async function publishDuring(redis: string, trouble: (() => Promise<unknown>)[]): Promise<number> {
  const { app } = await startApp({ redis, ...OPTIONS })
  const all: Promise<unknown>[] = []
  const begun = performance.now()
  let over = false
  const troubles = (async () => {
    for (const one of trouble) {
      await pause((MESSAGES / RATE / (trouble.length + 1)) * 1_000)
      await one()
    }
    over = true
  })()
  let n = 0
  while (n < MESSAGES || !over) {
    n++
    all.push(publish(app, 'board:1', 'n', n))
    void publish(app, 'plain', 'plain', n)
    const ahead = (n / RATE) * 1_000 - (performance.now() - begun)
    if (ahead > 0) await pause(ahead)
  }
  await troubles
  await Promise.all(all)
  return n
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

it('loses, repeats and reorders nothing while every process is replaced and Redis is frozen and killed', {
  timeout: 300_000,
}, async () => {
  // Redis that keeps its data over a kill.
  const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  onEnd(() => redis.stop())
  const { balancer, replace } = await startPair(redis.url)
  const all = await witnesses(balancer.url)
  const count = await publishDuring(redis.url, [
    () => replace((old) => (old.tell({ type: 'drain' }), old.exited), 'start'),
    () => replace((old) => (old.tell({ type: 'exit' }), old.exited), 'end'),
    () => replace((old) => old.kill('SIGKILL'), 'end'),
    async () => {
      redis.freeze()
      await pause(5_000)
      redis.thaw()
    },
    async () => {
      await redis.kill()
      await pause(1_000)
      await redis.restart()
    },
  ])
  await waitFor(() => all.every(({ history }) => history.length >= count), { timeout: 30_000 }).catch(() => undefined)
  for (const { history } of all) expect(history).toEqual(upTo(count))
  expect(all.map(({ resyncs }) => resyncs)).toEqual(all.map(() => 0))
  const lost = all.reduce((sum, { plain }) => sum + count - new Set(plain).size, 0)
  if (process.env['SOAK'])
    process.stdout.write(`plain room: ${lost} of ${count * CLIENTS} deliveries lost; history room: 0\n`)
})

it('says once that messages are lost where Redis comes back empty, and goes on in order', {
  timeout: 120_000,
}, async () => {
  const redis = await startRedis()
  onEnd(() => redis.stop())
  const { balancer } = await startPair(redis.url)
  const all = await witnesses(balancer.url)
  const count = await publishDuring(redis.url, [
    async () => {
      await redis.kill()
      await pause(500)
      await redis.restart()
    },
  ])
  await waitFor(() => all.every(({ history }) => history.at(-1) === count), { timeout: 30_000 })
  for (const { history, resyncs } of all) {
    expect(resyncs).toBe(1)
    // In order and once: strictly rising.
    expect(history.filter((n, i) => i > 0 && n <= (history[i - 1] as number))).toEqual([])
  }
})
