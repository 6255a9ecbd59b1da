export {
  type ChangedMessage,
  type LoadedMessage,
  type RejectedMessage,
  changedChannel,
  loadedChannel,
  rejectedChannel,
} from './channels.ts'
export {
  ConflictError,
  InvalidValueError,
  NotLoadedError,
  OptionError,
  UnavailableError,
  UnknownSettingError,
} from './errors.ts'
export type { SettingsOptions } from './options.ts'
export { scaleSettings, scaleSettings as default } from './plugin.ts'
export type { SettingSchema, SettingsSchema } from './schema.ts'
// Whole, so that `declare module '@fastify-scale/settings' { interface Settings … }` reaches the interface.
export * from './types.ts'
