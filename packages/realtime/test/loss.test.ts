import { startRedis, waitFor } from '@fastify-scale/dev-services'
import { pause } from '@fastify-scale/kit'
import { expect, it } from 'vitest'
import { onEnd, publish, startApp } from './support.ts'
import {
  NO_FAULTS,
  faultsOf,
  notRising,
  publishDuring,
  replacements,
  startPair,
  startWitnesses,
  upTo,
} from './traffic.ts'

/** SOAK=1: the full figures. */
const PACE = process.env['SOAK'] ? { least: 10_000, rate: 250 } : { least: 2_400, rate: 400 }
const CLIENTS = 20
const ROOM = 'board:1'
const OPTIONS = { rooms: { 'board:*': { history: 20_000, ttl: '5m' } }, publishTimeout: '20s' }

/** Publishes to the room with history, and to the plain one. */
async function startPublisher(redis: string): Promise<(n: number) => Promise<unknown>> {
  const { app } = await startApp({ redis, ...OPTIONS })
  return (n) => Promise.all([publish(app, ROOM, ROOM, n), publish(app, 'plain', 'plain', n)])
}

it('loses, repeats and reorders nothing while every process is replaced and Redis is frozen and killed', {
  timeout: 300_000,
}, async () => {
  // Redis that keeps its data over a kill.
  const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  onEnd(() => redis.stop())
  const pair = await startPair({ redis: redis.url, options: OPTIONS })
  const all = await startWitnesses(pair.balancer.url, CLIENTS, [ROOM])
  const count = await publishDuring(PACE, await startPublisher(redis.url), [
    ...replacements(pair),
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
  await waitFor(() => all.every(({ history }) => (history[ROOM]?.length ?? 0) >= count), { timeout: 30_000 }).catch(
    () => undefined,
  )
  for (const { history } of all) expect(faultsOf(history[ROOM] as number[], upTo(count))).toEqual(NO_FAULTS)
  expect(all.map(({ resyncs }) => resyncs[ROOM])).toEqual(all.map(() => 0))
  const lost = all.reduce((sum, { plain }) => sum + count - new Set(plain).size, 0)
  if (process.env['SOAK'])
    process.stdout.write(
      `of ${count} messages: plain room: ${lost} of ${count * CLIENTS} deliveries lost; history: 0\n`,
    )
})

it('says once that messages are lost where Redis comes back empty, and goes on in order', {
  timeout: 120_000,
}, async () => {
  const redis = await startRedis()
  onEnd(() => redis.stop())
  const { balancer } = await startPair({ redis: redis.url, options: OPTIONS })
  const all = await startWitnesses(balancer.url, CLIENTS, [ROOM])
  const count = await publishDuring(PACE, await startPublisher(redis.url), [
    async () => {
      await redis.kill()
      await pause(500)
      await redis.restart()
    },
  ])
  await waitFor(() => all.every(({ history }) => history[ROOM]?.at(-1) === count), { timeout: 30_000 })
  for (const { history, resyncs } of all) {
    expect(resyncs[ROOM]).toBe(1)
    expect(notRising(history[ROOM] as number[])).toEqual([])
  }
})
