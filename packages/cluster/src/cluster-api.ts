import type { Broadcasts } from './broadcast.ts'
import type { WorkerInfo } from './link.ts'
import type { MetricSource } from './metrics/snapshot.ts'
import type { Shared, SharedLoader, SharedOptions } from './shared.ts'
import type { Singleton, SingletonFunction } from './singleton.ts'
import type { LauncherStatus } from './status.ts'

/** `fastify.cluster`: the same with the launcher and without it. */
export interface Cluster extends Broadcasts {
  /** Who this process is. Without the launcher: one worker, number 0, alone. */
  readonly worker: WorkerInfo
  /** True where a launcher runs this process. */
  readonly launched: boolean
  /** This launcher first; with `redis` all of this name. */
  status(): Promise<LauncherStatus[]>
  /**
   * Replaces all workers, one after another. Resolves when the launcher has accepted it, since the worker that asks is
   * replaced too; `status()` shows the progress. @throws SCALE_CLUSTER_NO_LAUNCHER (501) where no launcher runs
   */
  reload(): Promise<void>
  /** Sets the number of workers: `4`, `'+1'`, `'-1'`. Resolves when accepted. @throws SCALE_CLUSTER_NO_LAUNCHER */
  scale(to: number | string): Promise<void>
  /**
   * Replaces the worker of one slot without losing a request. Resolves when accepted.
   * @throws SCALE_CLUSTER_NO_LAUNCHER, SCALE_CLUSTER_OPTION where there is no such slot
   */
  restart(slot: number): Promise<void>
  /**
   * Ends the worker of one slot by SIGKILL; the launcher starts another. For demonstrations.
   * @throws SCALE_CLUSTER_NO_LAUNCHER, SCALE_CLUSTER_OPTION where there is no such slot
   */
  kill(slot: number): Promise<void>
  /**
   * Runs `run` in exactly one worker of this launcher, or with `redis` of all launchers with this name. It starts when the
   * app is ready, and moves when that worker dies, drains or is replaced. The worker keeps it until the signal aborts,
   * also when the function has returned before. A function that throws is logged and started again after a back-off.
   * @throws SCALE_CLUSTER_NAME_TAKEN
   */
  singleton(name: string, run: SingletonFunction): Singleton
  /**
   * A value that one worker loads and all can read at once. The worker is ready when it has all its shared values.
   * @throws SCALE_CLUSTER_NAME_TAKEN, SCALE_CLUSTER_OPTION
   */
  shared<T>(name: string, options: SharedOptions, loader: SharedLoader<T>): Shared<T>
  /**
   * Adds metrics of the app's own to those of this worker: a prom-client `Registry`. They are merged over all workers.
   * A value that is no finite number is left out, and logged once for each metric.
   */
  addMetrics(source: MetricSource): void
}
