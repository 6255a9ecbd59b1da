/**
 * The service's settings and their types. Augment it:
 *
 * ```ts
 * declare module '@fastify-scale/settings' {
 *   interface Settings { maintenance: boolean; uploadLimit: number }
 * }
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-interface, typescript/no-empty-object-type
export interface Settings {}

/** The names of the settings; any text where `Settings` is not augmented. */
export type SettingName = keyof Settings extends never ? string : Extract<keyof Settings, string>

/** The type of a setting's value; `unknown` where `Settings` is not augmented. */
export type SettingValue<K extends SettingName> = K extends keyof Settings ? Settings[K] : unknown

/** One change of a setting, as every process sees it. */
export interface Change<K extends SettingName = SettingName> {
  readonly key: K
  /** The value from this change on: the default where the change was a reset. */
  readonly value: SettingValue<K>
  /** The value before; `undefined` where that one is not known any more. */
  readonly previous: SettingValue<K> | undefined
  /** Grows with each change of the setting, also over a loss of Redis's data; 0 is 'never set'. */
  readonly version: number
  /** When, in ms since 1970, by the clock of Redis. */
  readonly at: number
  /** Who, as the caller of `set` said. */
  readonly by: string | undefined
  /** True where the setting went back to its default. */
  readonly reset: boolean
}

export interface SetOptions {
  /**
   * Change only if the setting still has this version (`versions()[key]`); 0 is 'never set'. A value of another release that
   * this one refuses has a version that matches none: only a change without `ifVersion` replaces it.
   */
  ifVersion?: number
  /** Who makes the change, for the history: up to 200 characters. */
  by?: string
}

/** Called after each change, with the new value and the one before it. */
export type ChangeListener<K extends SettingName> = (
  value: SettingValue<K>,
  previous: SettingValue<K>,
  change: Change<K>,
) => unknown

/** `fastify.settings`. */
export interface SettingsApi {
  /**
   * The value now, from this process's own copy. Objects and arrays are frozen.
   *
   * @throws SCALE_SETTINGS_UNKNOWN
   */
  get<K extends SettingName>(key: K): SettingValue<K>
  /**
   * Changes a setting for every process. Resolves when Redis has the change and this process has it too
   * (or could not get it within `timeout`, its link for changes being away).
   *
   * @throws SCALE_SETTINGS_UNKNOWN, SCALE_SETTINGS_INVALID, SCALE_SETTINGS_CONFLICT; SCALE_SETTINGS_UNAVAILABLE where
   * Redis did not answer in time: then the change was made or not, but will not be made later
   */
  set<K extends SettingName>(key: K, value: SettingValue<K>, options?: SetOptions): Promise<Change<K>>
  /** Sets the setting back to its default, whatever that is in each release. Resolves and throws like `set`. */
  reset<K extends SettingName>(key: K, options?: SetOptions): Promise<Change<K>>
  /**
   * Calls back after each change of the setting, in order; returns the function that stops it. What the listener throws
   * or rejects with is logged. An async one is not waited for.
   */
  onChange<K extends SettingName>(key: K, listener: ChangeListener<K>): () => void
  /** The version of every setting in this process; 0 is 'never set'. */
  versions(): Record<SettingName, number>
  /** The last changes of a setting that the stream still has, newest first. Throws like `set`. */
  history<K extends SettingName>(key: K, options?: { limit?: number }): Promise<Change<K>[]>
  /** How old this process's knowledge may be, in ms: below about 1 s while all is well; `Infinity` before the first load. */
  age(): number
}
