import type { ReadinessResult } from '@fastify-scale/kit'
import type { Peer } from '../bus.ts'
import { jsonPage, type Page } from './page.ts'

/** A worker as far as health goes. */
export interface HealthWorker {
  id: number
  slot: number
  /** `web` where it listens. */
  role: string
  state: 'starting' | 'ready' | 'draining' | 'gone'
  peer: Peer
}

export interface HealthOptions {
  /** Where the whole cluster is in its life. */
  state(): 'starting' | 'running' | 'stopping'
  workers(): Iterable<HealthWorker>
  /** What is past a red line now; shown, and no reason to be not ready. */
  warnings?(): string[]
  /** How long a worker may take to answer, in ms; its checks have bounds of their own below. Default 2,000. */
  timeout?: number
  /** How long an answer of readyz serves further requests, in ms, so that probes never load what is checked. Default 500. */
  cacheMs?: number
  now?: () => number
}

export interface Health {
  /** 200 as long as the primary lives and one worker at least that listens answers; also while the first start is going on. */
  livez(): Promise<Page>
  /**
   * 200 when every worker that answers passes all its readiness checks, one that listens is among them, and at most one
   * does not answer. 503 while starting and stopping, and where none is up.
   */
  readyz(): Promise<Page>
}

interface WorkerReport {
  slot: number
  role: string
  ready: boolean
  /** Absent where the worker did not answer. */
  checks?: ReadinessResult[]
  reason?: string
}

export function createHealth(options: HealthOptions): Health {
  const { state, workers, warnings, timeout = 2_000, cacheMs = 500, now = () => performance.now() } = options
  let cached: { at: number; page: Promise<Page> } | undefined

  async function ask(worker: HealthWorker): Promise<WorkerReport> {
    const { slot, role } = worker
    try {
      const answer = (await worker.peer.call('health.ready', null, timeout)) as {
        ready?: unknown
        checks?: ReadinessResult[]
      } | null
      if (!Array.isArray(answer?.checks)) return { slot, role, ready: false, reason: 'answered nonsense' }
      return { slot, role, ready: answer.ready === true, checks: answer.checks }
    } catch (error) {
      return { slot, role, ready: false, reason: (error as Error).message }
    }
  }

  async function ready(): Promise<Page> {
    if (state() !== 'running') return jsonPage(503, { status: state() })
    // A worker that drains has a successor that is asked, and one that starts is not sent requests yet.
    const reports = await Promise.all([...workers()].filter((worker) => worker.state === 'ready').map(ask))
    const answered = reports.filter((report) => report.checks)
    const ok =
      answered.some(listens) && answered.every((report) => report.ready) && reports.length - answered.length <= 1
    // The state may have changed while they were asked.
    const status = state() !== 'running' ? state() : ok ? 'ready' : 'not ready'
    return jsonPage(status === 'ready' ? 200 : 503, { status, workers: reports, warnings: warnings?.() ?? [] })
  }

  return {
    async livez() {
      if (state() === 'starting') return jsonPage(200, { status: 'starting' })
      const answers = [...workers()]
        .filter((worker) => worker.state !== 'gone' && listens(worker))
        .map((worker) => worker.peer.call('health.ping', null, timeout))
      try {
        await Promise.any(answers)
        return jsonPage(200, { status: 'alive' })
      } catch {
        return jsonPage(503, { status: 'no worker answers' })
      }
    },
    readyz() {
      if (!cached || now() - cached.at >= cacheMs || state() !== 'running') cached = { at: now(), page: ready() }
      return cached.page
    },
  }
}

/** Job workers do not: where only they are left, nobody serves. */
function listens({ role }: { role: string }): boolean {
  return role === 'web'
}
