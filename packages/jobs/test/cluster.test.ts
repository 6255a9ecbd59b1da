import { startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { Cluster } from 'ioredis'
import { expect, test } from 'vitest'
import scaleJobs from '../src/index.ts'

test('on a Redis Cluster jobs run, fail, are retried, and cron ticks', async () => {
  const servers = await startRedisCluster()
  const client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
  for (const prefix of ['a', 'b', 'c']) {
    const app = Fastify()
    await app.register(scaleJobs, { redis: client, prefix, queues: { images: {} } })
    let broken = true
    const ticks: string[] = []
    const work = app.jobs.define<number>('images.work', { attempts: 1 }, (n) => {
      if (broken) throw new Error('broken')
      return n + 1
    })
    app.jobs.cron('tick', '* * * * * *', ({ tick }) => void ticks.push(tick))
    await app.ready()
    const { id } = await work.add(1, { idempotencyKey: 'one', priority: 'high' })
    await expect(app.jobs.waitUntilFinished(id)).rejects.toMatchObject({ code: 'SCALE_JOBS_FAILED' })
    expect(await app.jobs.deadLetters('images')).toMatchObject([{ id }])
    broken = false
    await app.jobs.retry(id)
    expect(await app.jobs.waitUntilFinished(id)).toBe(2)
    await waitFor(() => ticks.length >= 1)
    await app.close()
  }
  client.disconnect()
  await servers.stop()
})
