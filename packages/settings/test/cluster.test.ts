import { startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { Cluster } from 'ioredis'
import { expect, test } from 'vitest'
import scaleSettings from '../src/index.ts'
import { type AnySettings, schema } from './helpers.ts'

test('on a Redis Cluster every process sees each change, whichever node has the keys', async () => {
  const servers = await startRedisCluster()
  const client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
  // Prefixes of many slots: on all three masters.
  for (const prefix of ['a', 'b', 'c', 'd', 'e']) {
    const apps = await Promise.all(
      [1, 2].map(async () => {
        const app = Fastify()
        await app.register(scaleSettings, { redis: client, schema, prefix })
        return app
      }),
    )
    const [one, two] = apps.map((app) => app.settings as unknown as AnySettings)
    await one?.set('limit', 3)
    await waitFor(() => two?.get('limit') === 3)
    expect(await two?.history('limit')).toMatchObject([{ value: 3, previous: 10 }])
    for (const app of apps) await app.close()
  }
  client.disconnect()
  await servers.stop()
})
