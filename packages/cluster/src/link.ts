import type { Port } from './bus.ts'

/** Who this process is. Without the launcher: one worker, number 0, alone. */
export interface WorkerInfo {
  /** Unique among all workers that this launcher ever started. */
  readonly id: number
  /** The place that the worker fills, from 0; its replacement has the same. */
  readonly slot: number
  /** How many workers had this slot before; 0 for the first. */
  readonly generation: number
  /** What the worker does: `web`, or a role of its own such as `jobs`. */
  readonly role: string
  /** How many slots there are now for this role. */
  readonly count: number
}

/** What the launcher gives to a worker before the app's code is loaded. */
export interface LauncherLink {
  /** Read at each use: `count` changes when the launcher scales. */
  worker: WorkerInfo
  /** To the primary. */
  port: Port
  /** The launcher's `--name`. */
  name: string
  /** Set by scaleCluster: what was answered since this was called last, and aborted ever. `p99` in ms, absent with metrics off. */
  stats?: (() => { requests: number; p99?: number; aborted: number }) | undefined
}

const KEY = Symbol.for('fastify-scale.launcher-link')

/**
 * Leaves the link where scaleCluster finds it, whichever copy of this package the app has, and whether the launcher or
 * the app registers it first.
 */
export function offerLink(link: LauncherLink): void {
  Object.defineProperty(globalThis, KEY, { value: link, configurable: true, enumerable: false })
}

/** The link of the launcher that runs this process; `undefined` where none does. */
export function findLink(): LauncherLink | undefined {
  return (globalThis as Record<symbol, LauncherLink | undefined>)[KEY]
}
