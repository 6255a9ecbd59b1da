import type { EventEmitter } from 'node:events'
import { type FromWorker, type ListenMode, type ListenAddress } from '../protocol.ts'
import type { Yielding } from '../worker/priority.ts'
import type { WorkerSpec } from '../worker/spec.ts'
import type { Dispatcher } from './dispatcher.ts'
import { createLife, type DrainOutcome } from './life.ts'
import type { Listener, NativeHandle } from './listener.ts'
import type { RespawnPolicy } from './respawn.ts'
import { createRevival, type Revival } from './revival.ts'
import { type Slot, slotsOf } from './slot.ts'
import type { Counters, ExitInfo, PrimaryEvents } from './types.ts'
import { forkWorker, type WorkerProcess } from './worker-process.ts'

export interface CrewOptions {
  /** What all workers have in common; `app` and `cwd` are resolved anew for each fork. */
  spec(): Pick<
    WorkerSpec,
    'app' | 'name' | 'startTimeout' | 'hangTimeout' | 'logLevel' | 'requestLog' | 'shed' | 'metrics' | 'jobsApart'
  > & {
    cwd: string
  }
  /** How much workers with the role `jobs` yield. */
  jobNice: Yielding
  execArgv: readonly string[]
  env: Record<string, string>
  startTimeout: number
  drainTimeout: number
  /** Changes to `cluster` where a worker can't be given connections. */
  mode(): ListenMode
  /** The Node that workers run on is not what we know. Says why they can't be started there, where they can't. */
  onUnknownNode(): string | undefined
  listener: Listener | undefined
  /** Where workers listen in `cluster` mode. */
  address: ListenAddress
  dispatcher: Dispatcher
  policy: RespawnPolicy
  counters: Counters
  events: EventEmitter<PrimaryEvents>
  /** False while the whole cluster stops: nothing is started again. */
  running(): boolean
  /** Throws SCALE_CLUSTER_STOPPING while the whole cluster stops: what is forked then would be ended by nobody. */
  refuseWhileStopping(): void
  notices: CrewNotices
}

/** What operators should hear of. */
export interface CrewNotices {
  crashed(worker: WorkerProcess, exit: ExitInfo, delay: number): void
  /** There is nothing to fork: the app is not there. */
  notForked(slot: number, reason: string, delay: number): void
  /** The breaker has opened: the app can't be started any more. `serving`: how many workers still serve. */
  cannotStart(reason: string, serving: number): void
  corrupt(worker: WorkerProcess, reason: string): void
  killed(worker: WorkerProcess, after: number): void
}

/** Starts, watches and ends the processes of all slots. */
export interface Crew extends Omit<Revival, 'startAgain'> {
  readonly slots: Slot[]
  /**
   * Forks a worker for a slot: as its `current` one, or as the `next`. Throws SCALE_CLUSTER_APP where the app is not
   * there, SCALE_CLUSTER_STOPPING.
   */
  fork(slot: Slot, place: 'current' | 'next'): WorkerProcess
  /** Resolves when the worker is ready; rejects with SCALE_CLUSTER_START when it ends or is late, and then ends it. */
  ready(worker: WorkerProcess): Promise<void>
  /** Makes the slot's `next` its `current`; returns the old one. */
  swap(slot: Slot): WorkerProcess | undefined
  /** Sends a worker no connections any more, ahead of its drain; and again, where it stays after all. */
  retire(worker: WorkerProcess): void
  reinstate(worker: WorkerProcess): void
  /** Drains a worker and waits for its end, by force at the deadline. */
  drain(worker: WorkerProcess, handOver: boolean): Promise<DrainOutcome>
  /** Ends a worker at once, without a restart. Resolves when it is gone. */
  end(worker: WorkerProcess, reason?: string): Promise<void>
  all(): WorkerProcess[]
}

export function createCrew(options: CrewOptions): Crew {
  const { dispatcher, policy, counters, events, notices } = options
  const slots: Slot[] = []
  // Also those whose slot is no more: they drain, and are to be waited for.
  const processes = new Set<WorkerProcess>()
  const life = createLife(options)
  const revival = createRevival({
    ...options,
    slots,
    fork: (slot) => fork(slot, 'current'),
    untilReady: (worker) => life.untilReady(worker, true),
  })
  let lastId = 0

  function fork(slot: Slot, place: 'current' | 'next'): WorkerProcess {
    options.refuseWhileStopping()
    const { cwd, ...common } = options.spec()
    const worker = forkWorker(
      {
        cwd,
        execArgv: options.execArgv,
        env: options.env,
        spec: {
          ...common,
          id: ++lastId,
          slot: slot.slot,
          generation: slot.generation++,
          role: slot.role,
          nice: slot.role === 'jobs' ? options.jobNice : 0,
          count: slotsOf(slots, slot.role).length,
        },
      },
      { message: onMessage, corrupt: onCorrupt, dead: onDead, exit: onExit },
    )
    slot[place] = worker
    processes.add(worker)
    life.begin(worker)
    events.emit('fork', worker)
    return worker
  }

  function onMessage(worker: WorkerProcess, message: FromWorker, handle: NativeHandle | undefined): void {
    switch (message.t) {
      case 'took':
        return dispatcher.took(worker.id, message.count)
      case 'give':
        counters.moved += 1
        if (handle) {
          if (message.key !== undefined) handle.stickyKey = message.key
          dispatcher.accept({ handle, idle: true, head: message.head, taken: () => worker.send({ t: 'taken' }) })
        }
        return
      case 'beat':
        worker.beat = message
        events.emit('beat', worker, message)
        return
      case 'line':
        events.emit('line', message.line)
        return
      case 'waiting':
        worker.waitingFor = message.reason
        return
      case 'where':
        return tellWhere(worker, message.adopts)
      case 'ready':
        return onReady(worker)
      case 'failed':
        worker.failed = message.message
        return worker.disconnect()
      case 'drained':
        return life.drained(worker, message)
      default:
    }
  }

  function tellWhere(worker: WorkerProcess, adopts: boolean): void {
    if (!adopts && options.mode() !== 'cluster') {
      worker.failed = options.onUnknownNode()
      if (worker.failed !== undefined) return worker.disconnect()
    }
    const { listener } = options
    const mode = options.mode()
    const handles = mode === 'shared' ? (listener?.handles ?? []) : []
    worker.send({
      t: 'listen',
      mode,
      address: listener?.addresses[0] ?? options.address,
      handles: handles.length,
      ...(mode === 'reuse-port' && { addresses: listener?.addresses ?? [] }),
    })
    for (const handle of handles) worker.send({ t: 'handle' }, handle)
  }

  function onReady(worker: WorkerProcess): void {
    // Told to go in the meantime.
    if (worker.state !== 'starting') return
    worker.state = 'ready'
    worker.readyAt = performance.now()
    worker.waitingFor = undefined
    policy.succeeded()
    distribute(worker)
    life.up(worker)
    events.emit('ready', worker)
  }

  function distribute(worker: WorkerProcess): void {
    // Where workers accept for themselves they still take over what others kept alive.
    if (worker.role === 'web' && options.mode() !== 'cluster')
      dispatcher.add({
        id: worker.id,
        slot: worker.slot,
        take: ({ handle, idle, head }) => worker.send({ t: 'conn', idle, key: handle.stickyKey, head }, handle),
      })
  }

  function onCorrupt(worker: WorkerProcess, reason: string): void {
    // What came before or after the damage is lost: an acknowledgement perhaps.
    notices.corrupt(worker, reason)
    worker.reason = `sent something that is no message (${reason})`
    worker.kill('SIGKILL')
  }

  function onDead(worker: WorkerProcess): void {
    dispatcher.dead(worker.id)
    counters.rescued = dispatcher.rescued
  }

  function onExit(worker: WorkerProcess, exit: ExitInfo): void {
    const slot = slots.find((one) => one.slot === worker.slot)
    processes.delete(worker)
    life.gone(worker, exit.reason)
    if (slot) {
      slot.lastExit = exit
      slot.leaving.delete(worker)
      const alone = slot.current === worker || (slot.next === worker && !slot.current)
      if (slot.current === worker) slot.current = undefined
      if (slot.next === worker) slot.next = undefined
      if (!exit.wanted && options.running()) {
        if (worker.readyAt !== undefined) counters.crashes += 1
        if (alone) revival.startAgain(slot, worker, exit)
      }
    }
    events.emit('exit', worker, exit)
  }

  return {
    slots,
    fork,
    populate: revival.populate,
    revive: revival.revive,
    ready: (worker) => life.untilReady(worker, false),
    swap(slot) {
      const old = slot.current
      slot.current = slot.next
      slot.next = undefined
      clearTimeout(slot.respawn)
      if (old) slot.leaving.add(old)
      return old
    },
    retire: (worker) => dispatcher.remove(worker.id),
    reinstate: distribute,
    drain: life.drain,
    end: life.end,
    all: () => [...processes],
  }
}
