export type { Broadcasts } from './broadcast.ts'
export type { Cluster } from './cluster-api.ts'
export * from './app-errors.ts'
export type { WorkerInfo } from './link.ts'
export { defaultWorkers, type Limits, readLimits } from './limits/limits.ts'
export type { MetricSource } from './metrics/snapshot.ts'
export { default, default as scaleCluster } from './plugin.ts'
export type { ScaleClusterOptions } from './plugin-options.ts'
export type { Shared, SharedLoader, SharedOptions } from './shared.ts'
export type { Singleton, SingletonContext, SingletonFunction } from './singleton.ts'
export type { LauncherStatus, SlotStatus } from './status.ts'
export {
  AddressError,
  AppError,
  ControlError,
  NotRunningError,
  ReloadError,
  RunningError,
  StartError,
  StoppingError,
} from './errors.ts'
export type { StartClusterOptions } from './options.ts'
export type { ExitInfo, ReloadProgress, ReloadResult, WorkerState } from './primary/types.ts'
export { type RunningCluster, startCluster } from './start-cluster.ts'
