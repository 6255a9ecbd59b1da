import { startRedisCluster } from '@fastify-scale/dev-services'
import { Cluster, Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { createRedisClock } from '../src/index.ts'

test('on a Cluster the clock that is asked is that of the node with the key, each time', async () => {
  const servers = await startRedisCluster()
  onTestFinished(() => servers.stop())
  const client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
  onTestFinished(() => client.disconnect())
  // Each is a clock of its own, which has to ask.
  for (let i = 0; i < 20; i++) {
    const at = Date.now()
    const deadline = await createRedisClock(client, undefined, '{a}:1').deadline(1_000)
    expect(Math.abs(deadline - at - 1_000)).toBeLessThan(500)
  }
  const asked = await Promise.all(
    servers.nodes.map(async ({ url }) => {
      const node = new Redis(url)
      const calls = /cmdstat_time:calls=(\d+)/.exec(await node.info('commandstats'))?.[1]
      const slots = await node.get('{a}:1').then(
        () => 'has the key',
        () => 'has it not',
      )
      node.disconnect()
      return [slots, Number(calls ?? 0)]
    }),
  )
  expect(asked.toSorted()).toEqual([
    ['has it not', 0],
    ['has it not', 0],
    ['has the key', 20],
  ])
})
