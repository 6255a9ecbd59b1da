import type { FastifyInstance } from 'fastify'
import { type ServicesBench, useServices } from '../../kit/test/use-services.ts'
import scaleSettings, { type SettingsApi, type SettingsOptions } from '../src/index.ts'

/** The settings of these tests, untyped: `Settings` is augmented in the tests of types only. */
export interface AnySettings extends Omit<SettingsApi, 'get' | 'set' | 'reset' | 'onChange' | 'versions' | 'history'> {
  get(key: string): unknown
  set(key: string, value: unknown, options?: { ifVersion?: number; by?: string }): Promise<AnyChange>
  reset(key: string, options?: { ifVersion?: number; by?: string }): Promise<AnyChange>
  onChange(key: string, listener: (value: unknown, previous: unknown, change: AnyChange) => void): () => void
  versions(): Record<string, number>
  history(key: string, options?: { limit?: number }): Promise<AnyChange[]>
}
export interface AnyChange {
  key: string
  value: unknown
  previous: unknown
  version: number
  at: number
  by: string | undefined
  reset: boolean
}

export const schema: SettingsOptions['schema'] = {
  maintenance: { type: 'boolean', default: false },
  limit: { type: 'integer', minimum: 0, default: 10 },
  theme: {
    type: 'object',
    properties: { colour: { type: 'string' }, sizes: { type: 'array', items: { type: 'integer' } } },
    additionalProperties: false,
    default: { colour: 'blue', sizes: [1, 2] },
  },
  mail: { type: 'string', format: 'email', default: 'me@example.org' },
}

export interface Bench extends ServicesBench {
  /** A service with the plugin; all of one test share their settings. */
  start(options?: Partial<SettingsOptions>): Promise<FastifyInstance>
  settings(app: FastifyInstance): AnySettings
}

export function useSettings(): Bench {
  const bench = useServices()
  return Object.assign(bench, {
    start: (options: Partial<SettingsOptions> = {}) => {
      const { redis, prefix } = bench
      return bench.open((app) => app.register(scaleSettings, { redis: redis.url, schema, prefix, ...options }))
    },
    settings: (app: FastifyInstance) => app.settings as unknown as AnySettings,
  })
}
