import type { FastifyInstance } from 'fastify'
import { reasonOf } from './errors.ts'
import { serverList } from './server-list.ts'
import { withDeadline } from './timing.ts'

/** One thing that must be so before this process may be sent requests. */
export interface ReadinessCheck {
  /** Shown to operators, for example `cache: redis`. */
  name: string
  /** Returns or resolves when all is well; throws or rejects with the reason when it is not. */
  check: () => void | Promise<void>
  /** Bound in ms, after which the check counts as failed. Default 1,000. */
  timeout?: number
}

export interface ReadinessResult {
  name: string
  ok: boolean
  /** Why not, for operators; absent when ok. */
  reason?: string
  /** How long the check took, in ms. */
  ms: number
}

/** Adds a readiness check to the server; the launcher, or any route of the app's own, serves them all. */
export function addReadinessCheck(fastify: Pick<FastifyInstance, 'server'>, check: ReadinessCheck): void {
  serverList<ReadinessCheck>(fastify, 'readiness').push(check)
}

/** Runs all checks of a server at once, each within its own bound. Never rejects. */
export async function runReadinessChecks(
  fastify: Pick<FastifyInstance, 'server'>,
): Promise<{ ready: boolean; checks: ReadinessResult[] }> {
  const checks = await Promise.all(serverList<ReadinessCheck>(fastify, 'readiness').map(runOne))
  return { ready: checks.every((check) => check.ok), checks }
}

async function runOne({ name, check, timeout = 1_000 }: ReadinessCheck): Promise<ReadinessResult> {
  const start = performance.now()
  const took = (): number => Math.round(performance.now() - start)
  try {
    // The check runs inside the promise so that one that throws at once is a failed check too.
    await withDeadline(Promise.resolve().then(check), timeout, `check '${name}'`)
    return { name, ok: true, ms: took() }
  } catch (error) {
    return { name, ok: false, reason: reasonOf(error), ms: took() }
  }
}
