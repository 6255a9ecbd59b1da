import type { FastifyInstance } from 'fastify'
import { reasonOf } from './errors.ts'
import { serverList } from './server-list.ts'
import { withDeadline } from './timing.ts'

/** Work that a process does after it stops taking new connections and before `app.close()`. */
export interface DrainStep {
  /** Shown to operators, for example `realtime: sockets`. */
  name: string
  /** Ends when nothing is left to drain; must be done within `budget` ms, when the signal aborts. */
  run: (context: DrainContext) => void | Promise<void>
}

export interface DrainContext {
  /** Time allowed, in ms. */
  budget: number
  /** Aborts when the budget is used up: end what is left by force. */
  signal: AbortSignal
}

export interface DrainResult {
  name: string
  ok: boolean
  reason?: string
  ms: number
}

interface Entry extends DrainStep {
  /** Set when the step was begun, by whomever: each runs once. */
  started?: Promise<DrainResult>
}

/**
 * Adds a drain step. Under the launcher all steps run together before `app.close()`; without it the step runs in
 * `preClose`, with a budget below Fastify's `pluginTimeout` (past that, Fastify's close would reject). It runs once.
 */
export function addDrainStep(fastify: FastifyInstance, step: DrainStep): void {
  const entry: Entry = { ...step }
  serverList<Entry>(fastify, 'drain').push(entry)
  fastify.addHook('preClose', async function scaleDrainStep() {
    await runOnce(entry, closeBudget(fastify))
  })
}

/** Runs all drain steps of a server that have not run yet, together. Never rejects. */
export function runDrainSteps(fastify: Pick<FastifyInstance, 'server'>, budget: number): Promise<DrainResult[]> {
  return Promise.all(serverList<Entry>(fastify, 'drain').map((entry) => runOnce(entry, budget)))
}

/** The time in ms that one closing hook may take: 80% of Fastify's `pluginTimeout`, or 10 s where that is off. */
export function closeBudget(fastify: FastifyInstance): number {
  const { pluginTimeout } = fastify.initialConfig
  return pluginTimeout ? Math.floor(pluginTimeout * 0.8) : 10_000
}

function runOnce(entry: Entry, budget: number): Promise<DrainResult> {
  entry.started ??= run(entry, budget)
  return entry.started
}

async function run(entry: Entry, budget: number): Promise<DrainResult> {
  const start = performance.now()
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), budget)
  try {
    // A step gets a moment after its signal to end by force before it is given up.
    const work = Promise.resolve().then(() => entry.run({ budget, signal: controller.signal }))
    await withDeadline(work, budget + Math.min(500, budget / 10), `drain step '${entry.name}'`)
    return { name: entry.name, ok: true, ms: Math.round(performance.now() - start) }
  } catch (error) {
    return {
      name: entry.name,
      ok: false,
      reason: reasonOf(error),
      ms: Math.round(performance.now() - start),
    }
  } finally {
    clearTimeout(timer)
  }
}
