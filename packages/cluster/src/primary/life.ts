import { StartError } from '../errors.ts'
import type { CrewOptions } from './crew.ts'
import type { WorkerProcess } from './worker-process.ts'

export interface DrainOutcome {
  moved: number
  cut: number
  /** It had to be ended by force. */
  killed: boolean
}

/** How long a worker may overstay its drain budget until it is killed, in ms. */
const GRACE = 2_000

/** What others wait for in the life of a worker process: that it is ready, that it has drained, that it is gone. */
export interface Life {
  /** Just forked. */
  begin(worker: WorkerProcess): void
  /** It is ready. */
  up(worker: WorkerProcess): void
  /** It says that nothing is left in it. */
  drained(worker: WorkerProcess, report: DrainReport): void
  /** Its process has ended. */
  gone(worker: WorkerProcess, reason: string): void
  /**
   * Rejects with SCALE_CLUSTER_START when it ends or is late, and then ends it. `patient`: failing readiness checks are
   * waited for as long as it takes, as a server that is away comes back.
   */
  untilReady(worker: WorkerProcess, patient: boolean): Promise<void>
  /** Drains it and waits for its end, by force at the deadline. */
  drain(worker: WorkerProcess, handOver: boolean): Promise<DrainOutcome>
  /** Ends it at once, without a restart. Resolves when it is gone. */
  end(worker: WorkerProcess, reason?: string): Promise<void>
}

type DrainReport = Pick<DrainOutcome, 'moved' | 'cut'>

interface Stages {
  ready: Promise<void>
  gone: Promise<void>
  isReady(): void
  isGone(reason: string): void
  report?: DrainReport
}

type LifeOptions = Pick<
  CrewOptions,
  'startTimeout' | 'drainTimeout' | 'mode' | 'dispatcher' | 'counters' | 'events' | 'notices'
>

export function createLife(options: LifeOptions): Life {
  const { dispatcher, counters, events, notices } = options
  const all = new WeakMap<WorkerProcess, Stages>()
  const stagesOf = (worker: WorkerProcess): Stages => all.get(worker) as Stages

  function begin(worker: WorkerProcess): void {
    const stages = {} as Stages
    stages.gone = new Promise((leave) => {
      stages.ready = new Promise((resolve, reject) => {
        stages.isReady = resolve
        stages.isGone = (reason) => {
          reject(new StartError(reason))
          leave()
        }
      })
    })
    // Not everybody who forks waits.
    stages.ready.catch(() => undefined)
    all.set(worker, stages)
  }

  async function untilReady(worker: WorkerProcess, patient: boolean): Promise<void> {
    const { startTimeout } = options
    const timer = setInterval(() => {
      if (patient && worker.waitingFor !== undefined && performance.now() - worker.heardAt < startTimeout) return
      worker.reason =
        worker.waitingFor === undefined
          ? `did not become ready within ${startTimeout} ms`
          : `did not become ready within ${startTimeout} ms: ${worker.waitingFor}`
      worker.kill('SIGKILL')
    }, startTimeout)
    try {
      await stagesOf(worker).ready
    } finally {
      clearInterval(timer)
    }
  }

  async function drain(worker: WorkerProcess, handOver: boolean): Promise<DrainOutcome> {
    if (worker.state === 'gone') return { moved: 0, cut: 0, killed: false }
    const { drainTimeout } = options
    const open = worker.beat?.connections ?? 0
    worker.wanted = true
    if (worker.state === 'starting') {
      await end(worker)
      return { moved: 0, cut: 0, killed: false }
    }
    worker.state = 'draining'
    // Before the order: what is sent after it would come too late.
    dispatcher.remove(worker.id)
    events.emit('drain', worker)
    worker.send({ t: 'drain', handOver: handOver && options.mode() !== 'cluster', budget: drainTimeout, paced: true })
    let killed = false
    const timer = setTimeout(() => {
      killed = true
      counters.killed += 1
      notices.killed(worker, drainTimeout + GRACE)
      worker.kill('SIGKILL')
    }, drainTimeout + GRACE)
    await stagesOf(worker).gone
    clearTimeout(timer)
    const { report } = stagesOf(worker)
    return { moved: report?.moved ?? 0, cut: report?.cut ?? (killed ? open : 0), killed }
  }

  async function end(worker: WorkerProcess, reason?: string): Promise<void> {
    if (worker.state === 'gone') return
    worker.wanted = true
    worker.reason ??= reason
    worker.kill('SIGKILL')
    await stagesOf(worker).gone
  }

  return {
    begin,
    up: (worker) => stagesOf(worker).isReady(),
    drained(worker, report) {
      stagesOf(worker).report = report
      worker.wanted = true
      worker.send({ t: 'leave' })
    },
    gone: (worker, reason) => stagesOf(worker).isGone(reason),
    untilReady,
    drain,
    end,
  }
}
