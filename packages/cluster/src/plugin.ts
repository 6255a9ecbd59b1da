import {
  addDrainStep,
  addReadinessCheck,
  openConnections,
  pause,
  refuseTaken,
  runReadinessChecks,
} from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ClusterOptionError, NotLoadedError } from './errors.ts'
import { createBroadcasts } from './broadcast.ts'
import { createPeer, type Peer } from './bus.ts'
import type { Cluster } from './cluster-api.ts'
import { isPage, jsonPage } from './health/page.ts'
import { findLink, type WorkerInfo } from './link.ts'
import { countRequests, measureWorker } from './metrics/worker.ts'
import { resolveOptions, type ResolvedOptions, type ScaleClusterOptions } from './plugin-options.ts'
import { createRedisBackend, type RedisBackend, STATUS_EVERY } from './redis-backend.ts'
import { createSharedValues } from './shared.ts'
import { createSingletons } from './singleton.ts'
import { SOLO, startSolo } from './solo.ts'
import type { LauncherStatus } from './status.ts'

declare module 'fastify' {
  interface FastifyInstance {
    cluster: Cluster
  }
}

/** What the first registration on a server leaves for later ones. */
interface Registered {
  cluster: Cluster
  peer: Peer
  /** Takes over what only the app can know and the launcher, who registered first, did not: Redis and mounted pages. */
  join(app: FastifyInstance, options: ResolvedOptions): Promise<void>
}

const KEY = Symbol.for('fastify-scale.cluster')

/**
 * `fastify.cluster`. Under the launcher it is registered before the app; the app's own registration then adds only its
 * `redis` and `mount` and is otherwise ignored, so that an app is the same with the launcher and without it.
 */
async function scaleClusterPlugin(app: FastifyInstance, given: ScaleClusterOptions): Promise<void> {
  const options = resolveOptions(given)
  const server = app.server as unknown as Record<symbol, Registered | undefined>
  const before = server[KEY]
  if (before) {
    if (!app.hasDecorator(options.decorator)) app.decorate(options.decorator, before.cluster as never)
    return before.join(app, options)
  }
  refuseTaken(app, options.decorator, 'decorator', (message) => new ClusterOptionError(message))
  const registered = await setUp(app, options)
  Object.defineProperty(server, KEY, { value: registered, enumerable: false })
  app.decorate(options.decorator, registered.cluster as never)
  await registered.join(app, options)
}

async function setUp(app: FastifyInstance, options: ResolvedOptions): Promise<Registered> {
  const link = findLink()
  const log = app.log
  const peer = link ? createPeer(link.port, onBusError) : startSolo(app, onBusError)
  const worker = (): WorkerInfo => link?.worker ?? SOLO
  let backend: RedisBackend | undefined

  function onBusError(error: unknown, name: string): void {
    log.error({ err: error, message: name }, 'cluster message could not be handled')
  }

  const broadcasts = createBroadcasts(peer, (error, topic) =>
    log.error({ err: error, topic }, `listener of broadcast '${topic}' failed`),
  )
  const singletons = createSingletons({
    peer,
    onError: (error, name) =>
      log.error({ err: error, singleton: name }, `singleton '${name}' failed, starting it again`),
  })
  const shared = createSharedValues({
    peer,
    singletons,
    onError: (error, name) => log.error({ err: error, shared: name }, `shared value '${name}' was not loaded`),
  })
  const onSourceError = (error: unknown): void => log.error({ err: error }, 'a source of metrics failed')
  const metrics = options.metrics ? measureWorker(app, worker().slot, onSourceError) : countRequests(app, onSourceError)
  if (link) link.stats = () => metrics.stats()

  peer.onCall('health.ping', () => true)
  peer.onCall('health.ready', () => runReadinessChecks(app))
  peer.onCall('metrics.snapshot', () => metrics.snapshot())

  addReadinessCheck(app, {
    name: 'cluster: shared values',
    check() {
      const missing = shared.missing()
      if (missing.length > 0) throw new NotLoadedError(`not loaded yet: ${missing.join(', ')}`)
    },
  })
  addDrainStep(app, { name: 'cluster: singletons', run: () => singletons.stop() })

  app.addHook('onReady', async function scaleClusterOnReady() {
    // When the app is ready, not before: what runs may need what other plugins set up in their own onReady.
    // As a callback: in a child context `ready()` is avvio's own, which makes no promise from within a hook.
    app.ready((error) => {
      if (!error) begin()
    })
    // With any onReady hook, Fastify listens in the turn in which it became ready, and on Node 20 a server that does so
    // was seen to take 1.3 to 1.4 times the CPU per request for ever. One turn of the event loop between makes it 1.0.
    await new Promise((resolve) => setImmediate(resolve))
  })
  app.addHook('onClose', async function scaleClusterOnClose() {
    // Without the drain step, as when registration of another plugin failed.
    void singletons.stop()
    if (link) {
      peer.note('metrics.final', await metrics.snapshot())
      link.stats = undefined
    }
    metrics.stop()
    peer.close()
    await backend?.close()
  })

  function begin(): void {
    if (backend) singletons.add('fastify-scale:status', (context) => publishStatus(context.signal), true)
    singletons.start(backend?.leases)
    shared.start(backend?.store)
  }

  async function ownStatus(): Promise<LauncherStatus> {
    return (await peer.call('cluster.status')) as LauncherStatus
  }

  /** One worker of this launcher tells the other machines how it is. */
  async function publishStatus(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await backend?.publish(await ownStatus())
      } catch (error) {
        log.debug({ err: error }, 'status was not published')
      }
      await pause(STATUS_EVERY, signal)
    }
  }

  async function status(): Promise<LauncherStatus[]> {
    const own = await ownStatus()
    if (!backend) return [own]
    try {
      const all = await backend.launchers()
      return [own, ...all.filter((one) => one.id !== own.id)]
    } catch (error) {
      // What we know is better than nothing, and says what it lacks.
      return [{ ...own, warnings: [...own.warnings, `other launchers are unknown: ${(error as Error).message}`] }]
    }
  }

  async function openRedis(context: FastifyInstance, given: ResolvedOptions): Promise<void> {
    const connections = await openConnections({
      packageName: '@fastify-scale/cluster',
      redis: given.redis === true ? undefined : given.redis,
      host: context as { redis?: unknown },
      log,
      fail: (message) => new ClusterOptionError(message),
    })
    backend = await createRedisBackend({
      connections,
      name: given.name ?? link?.name ?? 'app',
      owner: String(await peer.call('cluster.id')),
      lease: given.lease,
      commandTimeout: given.commandTimeout,
      onValue: shared.take,
      onLoadRequest: shared.loadNow,
      onLoadFailure: shared.takeFailure,
      // The loss and the return of the connection are logged by the connection itself.
      onError: (error, what) => log.debug({ err: error }, `redis: ${what}`),
      onLost: (name) => log.warn({ singleton: name }, `lease of '${name}' was lost, it stops here`),
    })
    addReadinessCheck(app, { name: 'cluster: redis', check: backend.ping })
  }

  async function command(name: string, data?: unknown): Promise<void> {
    await peer.call(`cluster.${name}`, data ?? null)
  }

  return {
    peer,
    cluster: {
      get worker() {
        return { ...worker() }
      },
      launched: link !== undefined,
      broadcast: broadcasts.broadcast,
      on: broadcasts.on,
      status,
      reload: () => command('reload'),
      scale: (to) => command('scale', to),
      restart: (slot) => command('restart', slot),
      kill: (slot) => command('kill', slot),
      singleton: (name, run) => singletons.add(name, run),
      shared: shared.add,
      addMetrics: metrics.add,
    },
    async join(context, given) {
      if (given.redis !== undefined && !backend) await openRedis(context, given)
      if (given.mount !== undefined) mountPages(context, peer, given.mount)
    },
  }
}

/** The admin pages on the app's own port, answered by the primary for all workers. */
function mountPages(app: FastifyInstance, peer: Peer, prefix: string): void {
  for (const name of ['livez', 'readyz', 'metrics']) {
    app.get(`${prefix}/${name}`, { logLevel: 'warn' }, async function scaleClusterPage(_request, reply) {
      const answer = await peer
        .call('cluster.page', name)
        .catch((error: Error) => jsonPage(503, { error: error.message }))
      const page = isPage(answer) ? answer : jsonPage(502, { error: 'no page' })
      return reply.code(page.status).header('cache-control', 'no-store').type(page.type).send(page.body)
    })
  }
}

const scaleCluster: typeof scaleClusterPlugin = fp(scaleClusterPlugin, {
  fastify: '5.x',
  name: '@fastify-scale/cluster',
})
export default scaleCluster
