import Fastify from 'fastify'
import { expectTypeOf, test } from 'vitest'
import scaleCluster, {
  type Cluster,
  type LauncherStatus,
  type Shared,
  type Singleton,
  type WorkerInfo,
} from '../src/index.ts'

const app = Fastify()

test('register takes the options, and refuses what is none', () => {
  app.register(scaleCluster)
  app.register(scaleCluster, { redis: 'redis://localhost', lease: '3s', name: 'shop', metrics: false, mount: '/-' })
  app.register(scaleCluster, { redis: true })
  // @ts-expect-error no such option
  app.register(scaleCluster, { leases: '3s' })
  // @ts-expect-error not a duration
  app.register(scaleCluster, { lease: true })
})

test('fastify.cluster needs no cast', () => {
  expectTypeOf(app.cluster).toEqualTypeOf<Cluster>()
  expectTypeOf(app.cluster.worker).toEqualTypeOf<WorkerInfo>()
  expectTypeOf(app.cluster.status()).resolves.toEqualTypeOf<LauncherStatus[]>()
  expectTypeOf(
    app.cluster.singleton('x', async ({ signal, fencing }) => {
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(fencing).toEqualTypeOf<number>()
    }),
  ).toEqualTypeOf<Singleton>()
  expectTypeOf(app.cluster.on('topic', () => undefined)).toEqualTypeOf<() => void>()
})

test('a shared value has the type that its loader gives', () => {
  const rates = app.cluster.shared('rates', { every: '10s' }, async () => ({ eur: 1.1 }))
  expectTypeOf(rates).toEqualTypeOf<Shared<{ eur: number }>>()
  expectTypeOf(rates.value.eur).toEqualTypeOf<number>()
  expectTypeOf(rates.refresh()).resolves.toEqualTypeOf<{ eur: number }>()
  // @ts-expect-error how often?
  app.cluster.shared('rates', {}, () => 1)
})
