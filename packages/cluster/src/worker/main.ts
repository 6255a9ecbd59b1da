import { oneLine, pause, runReadinessChecks } from '@fastify-scale/kit'
import type { FastifyInstance } from 'fastify'
import { AppError } from '../errors.ts'
import { type LauncherLink, offerLink } from '../link.ts'
import type { NativeHandle } from '../primary/listener.ts'
import scaleCluster from '../plugin.ts'
import type { ToWorker } from '../protocol.ts'
import { startBeat, startPulse } from './beat.ts'
import { createWorkerChannel, type WorkerChannel } from './channel.ts'
import { type Connections, trackConnections } from './connections.ts'
import { drain } from './drain.ts'
import { createListening, type Listening } from './listening.ts'
import { loadApp } from './load-app.ts'
import { createWorkerLog, type WorkerLog } from './logger.ts'
import { lowerPriority } from './priority.ts'
import { takeSpec } from './spec.ts'

/** ms between two tries of readiness checks that fail. */
const RETRY = 250

/** When a worker sheds load: answers would come too late to be of use. */
const SHED = { maxEventLoopDelay: 1_000, maxEventLoopUtilization: 0.98, sampleInterval: 500, retryAfter: 5 }

type Arriving = Extract<ToWorker, { t: 'conn' }>

/** What a worker has so far; messages of the primary may come at any time. */
interface WorkerState {
  app?: FastifyInstance
  connections?: Connections
  listening: Listening
  draining: boolean
}

/** The life of a worker: load the app, wait for its checks, listen, serve, drain, go. */
async function main(channel: WorkerChannel): Promise<void> {
  const spec = takeSpec(process.env)
  if (!spec) throw new AppError('this file is started by the launcher: use fastify-scale start <app>')
  const notLowered = lowerPriority(spec.nice ?? 0)
  const log = createWorkerLog(spec)
  const worker = { id: spec.id, slot: spec.slot, generation: spec.generation, role: spec.role, count: spec.count }
  const link: LauncherLink = { worker, port: channel.port, name: spec.name }
  offerLink(link)

  const state: WorkerState = { listening: createListening(channel), draining: false }
  obey(channel, state, log, worker)
  await channel.send({ t: 'hello' })
  startBeat(
    (beat) => channel.tell({ t: 'beat', ...beat }),
    () => state.connections,
    () => link.stats?.(),
  )
  startPulse(() => channel.tell({ t: 'alive' }), spec.hangTimeout ?? 0)

  const app = await loadApp(spec.app, {
    serverOptions: log.serverOptions,
    created(instance) {
      if (notLowered)
        instance.log.warn({ reason: notLowered.message }, 'the priority of this worker could not be lowered as asked')
      state.connections = trackConnections(instance.server)
      // An app that registers it itself adds its own options to this one.
      void instance.register(scaleCluster, { metrics: spec.metrics })
      if (spec.shed) void instance.register(import('@fastify/under-pressure'), SHED)
    },
  })
  state.app = app
  await app.ready()
  await checksPass(app, channel)
  if (state.draining) return
  // Others work on what comes through Redis or a timer.
  if (spec.role === 'web') await state.listening.start(app)
  await channel.send({ t: 'ready' })
}

/** Does what the primary says. */
function obey(channel: WorkerChannel, state: WorkerState, log: WorkerLog, worker: { count: number }): void {
  channel.on((message, handle) => {
    if (message.t === 'conn') takeConnection(handle, message)
    else if (message.t === 'count') worker.count = message.count
    else if (message.t === 'leave') process.disconnect()
    else if (message.t === 'tail') log.tail(message.on ? (line) => channel.tell({ t: 'line', line }) : undefined)
    else if (message.t === 'drain' && !state.draining) void leave(message).catch((error) => fail(channel, error))
  })

  function takeConnection(handle: NativeHandle | undefined, { idle, key, head }: Arriving): void {
    if (handle) {
      if (key !== undefined) handle.stickyKey = key
      if (!state.listening.take(handle, idle, head))
        void channel.send({ t: 'give', key, head }, handle).then(() => handle.close())
    }
    // Afterwards, in the same tick: should this process die in between, nothing was read yet and another one takes it.
    channel.tell({ t: 'took', count: 1 })
  }

  async function leave(order: { handOver: boolean; budget: number }): Promise<void> {
    state.draining = true
    const { app, connections } = state
    // Told to go before it was ready: nothing is served here.
    const report = app && connections ? await drain(app, connections, channel, order) : { moved: 0, cut: 0 }
    await channel.send({ t: 'drained', ...report })
  }
}

/** Waits until all readiness checks pass. A server that is away is no reason to die: the primary decides how long to wait. */
async function checksPass(app: FastifyInstance, channel: WorkerChannel): Promise<void> {
  for (;;) {
    const { ready, checks } = await runReadinessChecks(app)
    if (ready) return
    const failing = checks.filter((check) => !check.ok).map((check) => `${check.name}: ${check.reason}`)
    await channel.send({ t: 'waiting', reason: failing.join('; ') })
    await pause(RETRY)
  }
}

/** Tells the primary why, and ends when it has heard. */
function fail(channel: WorkerChannel, error: unknown): void {
  const { code, stack } = error as { code?: unknown; stack?: unknown }
  setTimeout(() => process.exit(1), 2_000)
  process.exitCode = 1
  void channel
    .send({
      t: 'failed',
      message: oneLine(error),
      ...(typeof code === 'string' ? { code } : {}),
      ...(typeof stack === 'string' ? { stack } : {}),
    })
    .then((sent) => sent || process.exit(1))
}

// ^C and a service manager's signals reach the whole group; only the primary acts on them.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => undefined)
process.once('disconnect', () => process.exit())
const channel = createWorkerChannel()
main(channel).catch((error) => fail(channel, error))
