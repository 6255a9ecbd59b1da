import { randomUUID } from 'node:crypto'
import { pause } from '@fastify-scale/kit'
import { ClusterOptionError } from './errors.ts'
import { type AdminAddress, type AdminServer, startAdminServer } from './health/admin.ts'
import { createHealth, type HealthWorker } from './health/health.ts'
import { jsonPage, metricsPage, type Page } from './health/page.ts'
import { createHub } from './hub.ts'
import { readLimits } from './limits/limits.ts'
import { createMetricsCollector } from './metrics/collect.ts'
import { primaryMetrics } from './metrics/primary.ts'
import type { Primary, WorkerHandle } from './primary/types.ts'
import { createCpuMeter, sampleProcess } from './proc/sampler.ts'
import { createStatus, type LauncherStatus } from './status.ts'

export interface ServicesOptions {
  /** Where to serve livez, readyz, metrics and status; not at all where absent. */
  admin?: AdminAddress | undefined
  /** What is past a red line now. */
  warnings?: () => string[]
  /** Something that a worker sent, or asked for, could not be done. */
  onError(error: unknown, what: string): void
}

/** What the primary does for apps and operators: `fastify.cluster`'s other side, health, metrics, status. */
export interface Services {
  status(): LauncherStatus
  livez(): Promise<Page>
  readyz(): Promise<Page>
  metrics(): Promise<string>
  readonly admin: AdminServer | undefined
  close(): Promise<void>
}

/**
 * Starts them on a primary, best before it forks its first worker.
 * @throws SCALE_CLUSTER_ADMIN_ADDRESS
 */
export async function startServices(primary: Primary, options: ServicesOptions): Promise<Services> {
  const { onError, warnings } = options
  const id = randomUUID()

  const hub = createHub({
    id,
    onError,
    commands: {
      status: () => status.read(),
      reload: () => accept('reload', primary.reload()),
      scale: (to) => accept('scale', primary.scale(to)),
      restart: (slot) => accept('restart', primary.restart(slot)),
      kill(slot) {
        const found = primary.slots.find((one) => one.slot === slot)
        if (!found) throw new ClusterOptionError(`there is no slot ${slot}`)
        if (found.worker) process.kill(found.worker.pid, 'SIGKILL')
      },
      async page(name) {
        if (name === 'livez') return health.livez()
        if (name === 'readyz') return health.readyz()
        return metricsPage(await metrics.text())
      },
    },
  })

  /** Who asks may be replaced by what it asks for: an order is answered when it was not refused at once. */
  async function accept(what: string, work: Promise<unknown>): Promise<void> {
    await Promise.race([work, pause(100)])
    work.catch((error: unknown) => onError(error, what))
  }

  const workers = (): HealthWorker[] =>
    primary.workers().flatMap((worker) => {
      const peer = hub.peer(worker.id)
      return peer ? [{ id: worker.id, slot: worker.slot, role: worker.role, state: worker.state, peer }] : []
    })
  const metrics = createMetricsCollector({
    workers: () => workers().filter((worker) => worker.state === 'ready' || worker.state === 'draining'),
    own: () => primaryMetrics(primary),
  })
  const health = createHealth({ state: () => primary.state, workers, warnings })
  const status = createStatus({
    id,
    primary,
    meter: createCpuMeter(),
    sample: sampleProcess,
    memory: readLimits().memory,
    singletons: () => hub.places.status(),
    warnings,
    admin: () => admin?.url,
  })

  const attach = (worker: WorkerHandle): void => {
    const peer = hub.attach(worker.id, worker.port)
    metrics.attach({ id: worker.id, slot: worker.slot, peer })
  }
  const detach = (worker: WorkerHandle): void => {
    hub.detach(worker.id)
    metrics.detach(worker.id)
  }
  primary.events.on('fork', attach)
  primary.events.on('exit', detach)
  for (const worker of primary.workers()) attach(worker)

  const pages = {
    '/livez': health.livez,
    '/readyz': health.readyz,
    '/metrics': async () => metricsPage(await metrics.text()),
    '/status': () => jsonPage(200, status.read()),
  }
  const admin = options.admin
    ? await startAdminServer({ address: options.admin, pages }).catch((error: unknown) => {
        if (!options.admin?.optional) throw error
        onError(error, 'admin pages')
        return undefined
      })
    : undefined

  return {
    status: status.read,
    livez: health.livez,
    readyz: health.readyz,
    metrics: metrics.text,
    admin,
    async close() {
      primary.events.off('fork', attach)
      primary.events.off('exit', detach)
      status.stop()
      for (const worker of primary.workers()) hub.detach(worker.id)
      await admin?.close()
    },
  }
}
