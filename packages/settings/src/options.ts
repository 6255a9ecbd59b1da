import {
  type Duration,
  type RedisSource,
  type Size,
  checkKnown,
  parseDuration,
  parseInteger,
  parseSize,
  show,
} from '@fastify-scale/kit'
import { OptionError } from './errors.ts'
import { type Definitions, type SettingsSchema, defineSettings } from './schema.ts'

export interface SettingsOptions {
  /** Where Redis is: a URL, ioredis options or an ioredis client. Default: `fastify.redis` of @fastify/redis. */
  redis?: RedisSource
  /**
   * A JSON Schema for each setting, with its default; or one of `type: 'object'` whose properties are the settings
   * (TypeBox's `Type.Object`).
   */
  schema: SettingsSchema
  /** What the keys in Redis begin with. Registrations of one prefix share their settings. Default `'settings'`. */
  prefix?: string
  /** The name of the decorator: `fastify.settings`. Default `'settings'`. */
  decorator?: string
  /** How long `set` and `history` may take, and registration waits for the first load (at most 2.5 s). Default `'1s'`. */
  timeout?: Duration
  /** How many changes of all settings together are kept for `history`, about. Default 1,000. */
  history?: number
  /** The largest value, as JSON, in bytes or as `'16KB'`. Default `'16KB'`. */
  maxSize?: Size
}

export interface ResolvedOptions {
  readonly redis: RedisSource | undefined
  readonly definitions: Definitions
  readonly prefix: string
  readonly decorator: string
  readonly timeout: number
  readonly history: number
  readonly maxSize: number
}

const OPTIONS = ['redis', 'schema', 'prefix', 'decorator', 'timeout', 'history', 'maxSize']

export const fail = (message: string): Error => new OptionError(message)

/** @throws SCALE_SETTINGS_OPTION */
export function resolveOptions(options: SettingsOptions): ResolvedOptions {
  checkKnown(options, OPTIONS, '@fastify-scale/settings', fail)
  const { redis, schema, prefix = 'settings', decorator = 'settings' } = options
  if (typeof prefix !== 'string' || !/^[^{}\s]+$/.test(prefix))
    throw fail(`option 'prefix' must be text without braces and spaces, but is ${show(prefix)}`)
  if (typeof decorator !== 'string' || decorator === '')
    throw fail(`option 'decorator' must be the name of a decorator`)
  return {
    redis,
    definitions: defineSettings(schema),
    prefix,
    decorator,
    timeout: parseDuration(options.timeout ?? '1s', { name: 'timeout', min: 50, max: 60_000, fail }),
    history: parseInteger(options.history ?? 1_000, { name: 'history', min: 1, max: 1_000_000, fail }),
    maxSize: parseSize(options.maxSize ?? '16KB', { name: 'maxSize', max: 1_048_576, fail }),
  }
}
