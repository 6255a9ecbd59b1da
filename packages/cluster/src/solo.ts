import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { createPeer, createPortPair, type Peer } from './bus.ts'
import { NoLauncherError } from './errors.ts'
import { createHealth, type HealthWorker } from './health/health.ts'
import { metricsPage } from './health/page.ts'
import { createHub } from './hub.ts'
import type { WorkerInfo } from './link.ts'
import { createMetricsCollector } from './metrics/collect.ts'
import { soloStatus } from './status.ts'

/** The worker that a process without the launcher is. */
export const SOLO: WorkerInfo = { id: 0, slot: 0, generation: 0, role: 'web', count: 1 }

/** The primary's side, in the process of an app that no launcher runs; gives the worker's end. */
export function startSolo(app: FastifyInstance, onError: (error: unknown, name: string) => void): Peer {
  const [own, primary] = createPortPair()
  let closing = false
  const refuse = (): never => {
    throw new NoLauncherError("no launcher runs this process: start it with 'fastify-scale start'")
  }
  const all = (): HealthWorker[] => {
    const peer = hub.peer(0)
    return peer ? [{ id: 0, slot: 0, role: SOLO.role, state: closing ? 'draining' : 'ready', peer }] : []
  }
  const metrics = createMetricsCollector({ workers: all })
  const health = createHealth({ state: () => (closing ? 'stopping' : 'running'), workers: all, cacheMs: 0 })
  const id = randomUUID()
  const hub = createHub({
    id,
    onError,
    commands: {
      status: () => soloStatus(id, 'app', hub.places.status()),
      reload: refuse,
      scale: refuse,
      restart: refuse,
      kill: refuse,
      async page(name) {
        if (name === 'livez') return health.livez()
        if (name === 'readyz') return health.readyz()
        return metricsPage(await metrics.text())
      },
    },
  })
  hub.attach(0, primary)
  app.addHook('preClose', async function scaleClusterClosing() {
    closing = true
  })
  app.addHook('onClose', async function scaleClusterHubClosed() {
    hub.detach(0)
  })
  return createPeer(own, onError)
}
