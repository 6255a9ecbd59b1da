export {
  type CompletedMessage,
  type FailedMessage,
  type JobMessage,
  type StartedMessage,
  addedChannel,
  completedChannel,
  failedChannel,
  startedChannel,
} from './channels.ts'
export {
  CronError,
  DefineError,
  FailedError,
  HandBackError,
  InvalidDataError,
  LockLostError,
  NotFoundError,
  OptionError,
  TimeoutError,
  TooLargeError,
  UnavailableError,
  WaitError,
} from './errors.ts'
export type { KeepOptions, QueueOptions, ScaleJobsOptions } from './options.ts'
export { scaleJobs, scaleJobs as default } from './plugin.ts'
export * from './types.ts'
