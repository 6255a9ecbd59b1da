import net from 'node:net'
import { pause, runDrainSteps } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import type { WorkerChannel } from './channel.ts'
import type { Connections } from './connections.ts'

export interface DrainOrder {
  /** Another worker is there to take idle connections. */
  handOver: boolean
  /** ms until connections that are left are cut. */
  budget: number
}

export interface DrainReport {
  /** Idle connections handed over. */
  moved: number
  /** Connections cut because time was up. */
  cut: number
}

/** ms in which requests that are already on the wire may still arrive when there is nobody to hand connections to. */
const LAST_REQUESTS = 500
/** ms between two looks for connections that have become idle. */
const SWEEP = 20

/** Brings a worker to its end without losing a request. The caller tells the primary afterwards. */
export async function drain(
  app: FastifyInstance,
  connections: Connections,
  channel: WorkerChannel,
  order: DrainOrder,
): Promise<DrainReport> {
  const { handOver, budget } = order
  const began = performance.now()
  const left = (): number => Math.max(0, budget - (performance.now() - began))
  let moved = 0
  let cut = 0
  const sends: Promise<unknown>[] = []

  function handOverIdle(): void {
    for (const handle of connections.detachIdle()) {
      moved += 1
      sends.push(channel.send({ t: 'give', key: handle.stickyKey }, handle).then(() => handle.close()))
    }
  }

  // One tick: no response may go out between these that promises to keep its connection.
  connections.sayClose()
  // Not app.close(): it destroys idle connections and answers 503 on live ones. Not http.Server's close: so does that.
  net.Server.prototype.close.call(app.server)
  const steps = runDrainSteps(app, Math.max(1, Math.floor(budget * 0.8)))
  let stepsDone = false
  void steps.then(() => (stepsDone = true))
  if (handOver) handOverIdle()

  let closedIdle = false
  while (connections.size > 0 && left() > 0) {
    // What is left was upgraded: the app's own hooks end it, in app.close().
    if (stepsDone && connections.upgraded() === connections.size) break
    const empty = new AbortController()
    connections.whenEmpty(() => empty.abort())
    await pause(SWEEP, empty.signal)
    if (handOver) handOverIdle()
    else if (performance.now() - began >= LAST_REQUESTS) {
      connections.closeIdle()
      closedIdle = true
    }
  }
  for (const result of await steps) {
    if (!result.ok) app.log.warn({ step: result.name, reason: result.reason }, 'a drain step was not done in time')
  }
  await Promise.all(sends)

  if (!closedIdle && left() === 0) connections.closeIdle()
  const closing = app.close()
  await Promise.race([closing, pause(Math.max(left(), 500)).then(() => 'late')])
  if (connections.size > 0) {
    cut = connections.size
    app.log.warn({ connections: cut }, 'time is up: connections are cut')
    connections.destroyAll()
    await closing
  }
  return { moved, cut }
}
