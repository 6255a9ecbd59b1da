import type { EventEmitter } from 'node:events'
import type { Port } from '../bus.ts'
import type { Beat } from '../protocol.ts'

/**
 * Where a worker is in its life.
 * starting: the app is being loaded. ready: it is sent connections. draining: it is not any more.
 */
export type WorkerState = 'starting' | 'ready' | 'draining' | 'gone'

/** One process, as the primary sees it. */
export interface WorkerHandle {
  readonly id: number
  readonly slot: number
  readonly generation: number
  readonly role: string
  readonly pid: number
  readonly state: WorkerState
  /** When it was forked; ms since 1970. */
  readonly since: number
  /** When it became ready, on the monotonic clock: that of the machine may be set while it serves. */
  readonly readyAt: number | undefined
  /** The last beat, and the time it came in on the monotonic clock. */
  readonly beat: Beat | undefined
  /** Messages of the plugin. */
  readonly port: Port
}

/** One place in the cluster; workers come and go in it. */
export interface SlotView {
  readonly slot: number
  readonly role: string
  /** The one that serves, or the one that starts where none serves. */
  readonly worker: WorkerHandle | undefined
  /** One that is being started to take over, or the old one that drains. */
  readonly other: WorkerHandle | undefined
  /** Restarts after crashes, since the launcher began. */
  readonly restarts: number
  /** Reloads and other wanted replacements. */
  readonly replacements: number
  readonly lastExit: ExitInfo | undefined
}

export interface ExitInfo {
  pid: number
  /** ms since 1970. */
  at: number
  code: number | null
  signal: string | null
  /** Why, in words: `exit code 1: TypeError: x is not a function`, `killed by SIGKILL`. */
  reason: string
  /** Whether the launcher wanted it. */
  wanted: boolean
}

export interface ReloadProgress {
  /** Slots replaced so far and slots to replace. */
  done: number
  total: number
  phase: 'starting' | 'draining'
  slot: number
}

export interface ReloadResult {
  ok: boolean
  /** Why not; absent when ok. */
  reason?: string
  /** Slots replaced. */
  replaced: number
  /** Workers ended by force at the deadline. */
  killed: number
  /** Connections cut by that. */
  cut: number
  /** Idle connections handed over. */
  moved: number
  /** Duration in ms. */
  ms: number
}

export interface PrimaryEvents {
  /** A worker process was forked; its port can be used. */
  fork: [WorkerHandle]
  /** It is sent connections from now on. */
  ready: [WorkerHandle]
  drain: [WorkerHandle]
  /** It is gone. */
  exit: [WorkerHandle, ExitInfo]
  beat: [WorkerHandle, Beat]
  reload: [ReloadResult]
  /** A step of a reload begins; undefined when it has ended. */
  progress: [ReloadProgress | undefined]
  /** A log line of a worker, while it is tailed. */
  line: [string]
  /** The number of slots changed. */
  scale: [count: number]
  /** The whole cluster is being stopped. */
  stopping: []
}

export interface Counters {
  reloads: number
  failedReloads: number
  crashes: number
  /** Workers ended because their event loop did not answer. */
  hangs: number
  /** Workers ended at the drain deadline. */
  killed: number
  /** Idle connections handed over to another worker. */
  moved: number
  /** Connections that a dead worker had not taken over, given to another. */
  rescued: number
}

/** What the rest of the launcher (control socket, admin server, singleton, metrics) may know and do. */
export interface Primary {
  readonly name: string
  readonly pid: number
  /** ms since 1970. */
  readonly startedAt: number
  readonly addresses: readonly string[]
  readonly slots: readonly SlotView[]
  readonly counters: Readonly<Counters>
  readonly reloading: ReloadProgress | undefined
  readonly state: 'starting' | 'running' | 'stopping'
  readonly events: EventEmitter<PrimaryEvents>
  /** All processes there are now, old and new. */
  workers(): WorkerHandle[]
  reload(): Promise<ReloadResult>
  /** Sets the number of slots with the role `web`: a number, or a change such as `+1`. Resolves when it is so. */
  scale(to: number | string): Promise<number>
  /** Replaces the worker of one slot, as a reload does. */
  restart(slot: number): Promise<ReloadResult>
  /** Has workers copy their log lines to the event `line`, or stop doing so. */
  tail(on: boolean): void
  /** Drains and stops everything. */
  stop(): Promise<void>
  /** Ends all workers at once, and lets nobody in any more. */
  kill(): void
}
