import Fastify from 'fastify'
import { type Static, Type } from 'typebox'
import { expectTypeOf, test } from 'vitest'
import scaleJobs, { type AddedJob, type JobStatus } from '@fastify-scale/jobs'

test('a handle takes what its handler takes', () => {
  const app = Fastify()
  void app.register(scaleJobs, { redis: 'redis://localhost', queues: { images: { concurrency: 4 } } })
  const schema = Type.Object({ width: Type.Integer() })
  const resize = app.jobs.define(
    'images.resize',
    { schema, attempts: 5 },
    async (data: Static<typeof schema>, context) => {
      expectTypeOf(data.width).toEqualTypeOf<number>()
      expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
      await context.progress({ done: 1 })
      return { key: 'thumb' }
    },
  )
  expectTypeOf(
    resize.add({ width: 1 }, { priority: 'high', delay: '1s', idempotencyKey: 'a' }),
  ).resolves.toEqualTypeOf<AddedJob>()
  // @ts-expect-error width is a number
  void resize.add({ width: '1' })
  // @ts-expect-error there is no such priority
  void resize.add({ width: 1 }, { priority: 'urgent' })
  expectTypeOf(app.jobs.status('images.1')).resolves.toEqualTypeOf<JobStatus | undefined>()
  app.jobs.cron('sweep', '0 3 * * *', { timezone: 'Europe/Berlin' }, ({ tick }) => {
    expectTypeOf(tick).toEqualTypeOf<string>()
  })
  const burn = app.jobs.define<{ n: number }>('images.burn', { sandbox: new URL('file:///burn.mjs'), memory: '256MB' })
  void burn.add({ n: 1 })
  // @ts-expect-error there is no such option
  void app.register(scaleJobs, { queue: {} })
})
