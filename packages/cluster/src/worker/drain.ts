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
  /** The primary says `taken` for each connection handed over that another worker has. */
  paced?: boolean | undefined
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
/**
 * How many connections may be on their way to another worker. Those are read by nobody, and on a busy machine each takes
 * its time; the others are served here until it is their turn.
 */
const WINDOW = 64
/** For so many ms, and a quarter of the budget at most, idle connections that are asked again before it is their turn may stay. */
const PATIENCE = 5_000

/** Brings a worker to its end without losing a request. The caller tells the primary afterwards. */
export async function drain(
  app: FastifyInstance,
  connections: Connections,
  channel: WorkerChannel,
  order: DrainOrder,
): Promise<DrainReport> {
  const { handOver, budget, paced = false } = order
  const began = performance.now()
  const left = (): number => Math.max(0, budget - (performance.now() - began))
  let moved = 0
  let cut = 0
  const sends: Promise<unknown>[] = []

  let underway = 0
  function handOverIdle(): void {
    const most = paced ? WINDOW - underway : Number.POSITIVE_INFINITY
    const handles = connections.detachIdle(most)
    // All that were idle have left: whoever is still here is busy.
    if (handles.length < most) connections.spareNone()
    for (const handle of handles) {
      moved += 1
      underway += 1
      sends.push(channel.send({ t: 'give', key: handle.stickyKey }, handle).then(() => handle.close()))
    }
  }
  channel.on((message) => {
    if (message.t !== 'taken') return
    underway -= 1
    // Not for each one: looking for idle ones looks at all.
    if (underway === WINDOW / 2) handOverIdle()
  })

  // One tick: no response may go out between these that promises to keep its connection.
  connections.sayClose(handOver)
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
    if (performance.now() - began >= Math.min(PATIENCE, budget / 4)) connections.spareNone()
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
