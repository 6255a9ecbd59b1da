import { pause } from '@fastify-scale/kit'
import { ClusterOptionError, StartError, StoppingError } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { resolveApp, resolveCwd } from './app-path.ts'
import { type CrewNotices, createCrew } from './crew.ts'
import { openEntry } from './entry.ts'
import { createExclusive } from './exclusive.ts'
import { urlsOf } from './listener.ts'
import { replaceSlots } from './reload.ts'
import { createRespawnPolicy } from './respawn.ts'
import { createSafeEmitter } from './safe-emitter.ts'
import { createSlot, freeNumber, processesOf, type Slot, slotsOf } from './slot.ts'
import type { Counters, Primary, PrimaryEvents, ReloadProgress, ReloadResult } from './types.ts'
import { createWatchdog } from './watchdog.ts'
import type { WorkerProcess } from './worker-process.ts'

/** What operators should hear of, besides what the events tell. */
export interface Notices extends CrewNotices {
  warn(message: string): void
  hung(worker: WorkerProcess, silent: number): void
  /** Something in the launcher failed that should not have. */
  internal(error: unknown, event: string): void
  /** Nothing serves and nothing can be started: the launcher should end. */
  fatal(error: Error): void
}

export interface PrimaryOptions extends ResolvedOptions {
  name: string
  notices: Notices
}

export interface PreparedPrimary {
  primary: Primary
  /**
   * Starts one worker, and when that one is ready the others. Resolves when the first one is ready, or rejects with
   * SCALE_CLUSTER_START and nothing left behind.
   */
  start(): Promise<void>
}

/** Binds the addresses and makes a cluster that has no workers yet. Throws SCALE_CLUSTER_ADDRESS, SCALE_CLUSTER_APP. */
export async function preparePrimary(options: PrimaryOptions): Promise<PreparedPrimary> {
  const { notices, workers: range } = options
  const events = createSafeEmitter<PrimaryEvents>((error, event) => notices.internal(error, event))
  const counters: Counters = { reloads: 0, failedReloads: 0, crashes: 0, hangs: 0, killed: 0, moved: 0, rescued: 0 }
  const startedAt = Date.now()
  let state: Primary['state'] = 'starting'
  let reloading: ReloadProgress | undefined
  let queuedReload: Promise<ReloadResult> | undefined
  let tailing = false
  let stopped: Promise<void> | undefined

  // A wrong path is found before anything is bound or forked.
  resolveApp(options.app, options.cwd)
  const entry = await openEntry(options, notices.warn)
  const { dispatcher } = entry
  const exclusive = createExclusive()
  const crew = createCrew({
    spec: () => ({
      app: resolveApp(options.app, options.cwd),
      cwd: resolveCwd(options.cwd),
      name: options.name,
      startTimeout: options.startTimeout,
      hangTimeout: options.hangTimeout,
      logLevel: options.logLevel,
      requestLog: options.requestLog,
      shed: options.shed,
      metrics: options.metrics,
      jobsApart: options.jobWorkers > 0,
    }),
    jobNice: options.jobNice,
    execArgv: options.execArgv,
    env: options.env,
    startTimeout: options.startTimeout,
    drainTimeout: options.drainTimeout,
    mode: () => entry.mode,
    onUnknownNode: entry.unknownNode,
    listener: entry.listener,
    address: { address: options.host, port: options.port, family: 'IPv4' },
    dispatcher,
    policy: createRespawnPolicy(),
    counters,
    events,
    running: () => state === 'running',
    refuseWhileStopping,
    notices: {
      ...notices,
      cannotStart(reason, serving) {
        if (serving > 0) notices.cannotStart(reason, serving)
        else notices.fatal(new StartError(`no worker serves and none can be started: ${reason}`))
      },
    },
  })
  const { slots } = crew

  const watchdog = createWatchdog(options.hangTimeout, crew.all, (worker, silent) => {
    counters.hangs += 1
    worker.heardAt = Number.POSITIVE_INFINITY
    worker.reason = `its event loop did not answer for ${silent} ms`
    notices.hung(worker, silent)
    worker.kill('SIGKILL')
  })
  const watch = options.hangTimeout > 0 ? setInterval(watchdog.look, watchdog.interval) : undefined

  events.on('fork', ({ id }) => {
    if (tailing)
      crew
        .all()
        .find((worker) => worker.id === id)
        ?.send({ t: 'tail', on: true })
  })

  function tellCount(): void {
    for (const worker of crew.all()) worker.send({ t: 'count', count: slotsOf(slots, worker.role).length })
    events.emit('scale', slotsOf(slots, 'web').length)
  }

  async function grow(count: number, role: string): Promise<void> {
    refuseWhileStopping()
    const added: Slot[] = []
    while (slotsOf(slots, role).length < count) {
      const slot = createSlot(freeNumber(slots), role)
      slots.push(slot)
      added.push(slot)
    }
    tellCount()
    await Promise.all(added.map(async (slot) => crew.ready(crew.populate(slot))))
  }

  async function shrink(count: number): Promise<void> {
    const removed = slotsOf(slots, 'web').slice(count)
    for (const slot of removed) slots.splice(slots.indexOf(slot), 1)
    tellCount()
    await Promise.all(
      removed.flatMap((slot) => {
        clearTimeout(slot.respawn)
        return processesOf(slot).map((worker) => crew.drain(worker, true))
      }),
    )
  }

  const isStopping = (): boolean => state === 'stopping'

  function refuseWhileStopping(): void {
    if (isStopping()) throw new StoppingError(`${options.name} is stopping`)
  }

  async function replace(which: readonly Slot[]): Promise<ReloadResult> {
    refuseWhileStopping()
    const result = await replaceSlots(which, {
      crew,
      onProgress: (progress) => {
        reloading = progress
        events.emit('progress', progress)
      },
    })
    // What stopping interrupts has not failed.
    if (isStopping()) return { ...result, ok: false, reason: `${options.name} is stopping` }
    counters[result.ok ? 'reloads' : 'failedReloads'] += 1
    events.emit('reload', result)
    return result
  }

  async function stopAll(): Promise<void> {
    if (state === 'running') events.emit('stopping')
    state = 'stopping'
    clearInterval(watch)
    entry.stopAccepting()
    for (const slot of slots) clearTimeout(slot.respawn)
    // Connections that were accepted and wait for a free worker are still to be served.
    for (let tries = 0; dispatcher.waiting > 0 && tries < 50; tries++) await pause(20)
    dispatcher.close()
    await Promise.all(crew.all().map((worker) => crew.drain(worker, false)))
  }

  const primary: Primary = {
    name: options.name,
    pid: process.pid,
    startedAt,
    addresses: entry.listener ? urlsOf(entry.listener.addresses) : [`http://${options.host}:${options.port}`],
    slots,
    counters,
    get reloading() {
      return reloading
    },
    get state() {
      return state
    },
    events,
    workers: crew.all,
    reload() {
      // Reloads never overlap. One that waits does for all who ask in the meantime.
      queuedReload ??= exclusive(() => {
        queuedReload = undefined
        return replace([...slots])
      })
      return queuedReload
    },
    scale(to) {
      return exclusive(async () => {
        refuseWhileStopping()
        const before = slotsOf(slots, 'web').length
        const count = parseScale(to, before)
        if (count > before) {
          await grow(count, 'web').catch(async (error) => {
            await shrink(before)
            throw error
          })
        } else if (count < before) await shrink(count)
        return slotsOf(slots, 'web').length
      })
    },
    restart(index) {
      return exclusive(() => {
        const slot = slots.find((one) => one.slot === index)
        if (!slot)
          throw new ClusterOptionError(
            `there is no slot ${index}; there are ${slots.map((one) => one.slot).join(', ')}`,
          )
        return replace([slot])
      })
    },
    tail(on) {
      tailing = on
      for (const worker of crew.all()) worker.send({ t: 'tail', on })
    },
    stop() {
      stopped ??= stopAll()
      return stopped
    },
    kill() {
      state = 'stopping'
      // First of all: nobody is to be let in whom no worker will answer.
      dispatcher.close()
      entry.stopAccepting()
      for (const worker of crew.all()) {
        worker.wanted = true
        worker.kill('SIGKILL')
      }
    },
  }

  async function start(): Promise<void> {
    try {
      entry.accept()
      const first = createSlot(0, 'web')
      slots.push(first)
      // One first: an app that can't start costs one fork and says why once.
      await crew.ready(crew.fork(first, 'current'))
      refuseWhileStopping()
      state = 'running'
    } catch (error) {
      state = 'stopping'
      clearInterval(watch)
      entry.stopAccepting()
      dispatcher.close()
      await Promise.all(crew.all().map((worker) => crew.end(worker)))
      throw error
    }
    // Those that fail are started again like any other.
    if (range.initial > 1) void exclusive(() => grow(range.initial, 'web')).catch(() => undefined)
    if (options.jobWorkers > 0) void exclusive(() => grow(options.jobWorkers, 'jobs')).catch(() => undefined)
  }

  return { primary, start }
}

function parseScale(to: number | string, now: number): number {
  const text = String(to).trim()
  const match = /^([+-]?)(\d{1,4})$/.exec(text)
  const amount = Number(match?.[2])
  const count = match?.[1] === '+' ? now + amount : match?.[1] === '-' ? now - amount : amount
  if (!match || count < 1 || count > 1_024)
    throw new ClusterOptionError(
      match && count < 1
        ? `there must be at least 1 worker; stop ends the launcher`
        : `scale takes a number from 1 to 1024, +N or -N, but is '${text}'`,
    )
  return count
}
