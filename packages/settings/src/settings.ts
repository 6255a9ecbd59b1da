import { parseInteger, withDeadline } from '@fastify-scale/kit'
import { InvalidValueError, UnavailableError } from './errors.ts'
import type { Live, LiveListener } from './live.ts'
import { type Definitions, definitionOf, toJson } from './schema.ts'
import { type WriteOptions, readHistory, write } from './store.ts'
import type { Change, ChangeListener, SetOptions, SettingName, SettingsApi } from './types.ts'

export interface SettingsParts {
  live: Live
  definitions: Definitions
  store: WriteOptions
  /** The largest value as JSON, in bytes. */
  maxSize: number
  /** How old the live copy may be, in ms. */
  age: () => number
}

/** Puts the live copy and the store together into what users see. */
export function createSettings({ live, definitions, store, maxSize, age }: SettingsParts): SettingsApi {
  const { values } = live

  async function change<K extends SettingName>(key: K, json: string, options: SetOptions): Promise<Change<K>> {
    const { ifVersion, by } = options
    if (ifVersion !== undefined) parseInteger(ifVersion, { name: 'ifVersion', min: 0, fail: invalid })
    if (by !== undefined && (typeof by !== 'string' || by.length > 200))
      throw invalid("option 'by' must be text of at most 200 characters")
    const stored = await write(store, { key, json, ifVersion, by, refused: live.refused(key) })
    // Made is made: where this process's link for changes is away, the caller is not kept waiting for it.
    await live.reached(key, stored.version, AbortSignal.timeout(store.timeout))
    return live.toLive(stored) as Change<K>
  }

  return {
    get(key) {
      const value = values[key]
      // No setting is undefined: each has a default, and JSON has no such value.
      if (value === undefined) definitionOf(definitions, key)
      return value as never
    },
    async set(key, value, options = {}) {
      const definition = definitionOf(definitions, key)
      const json = toJson(key, value, maxSize)
      // Checked as others will read it: a Date is text by then.
      definition.parse(json)
      return change(key, json, options)
    },
    async reset(key, options = {}) {
      definitionOf(definitions, key)
      return change(key, '', options)
    },
    onChange<K extends SettingName>(key: K, listener: ChangeListener<K>) {
      definitionOf(definitions, key)
      return live.listen(key, listener as unknown as LiveListener)
    },
    versions() {
      const versions: Record<string, number> = {}
      for (const key of Object.keys(definitions)) versions[key] = live.version(key)
      return versions as Record<SettingName, number>
    },
    async history<K extends SettingName>(key: K, { limit = 100 }: { limit?: number } = {}) {
      definitionOf(definitions, key)
      parseInteger(limit, { name: 'limit', fail: invalid })
      try {
        const changes = await withDeadline(
          readHistory(store.client, store.keys, key, limit),
          store.timeout,
          `the history of setting '${key}'`,
        )
        return changes.map((stored) => live.toLive(stored) as Change<K>)
      } catch (error) {
        throw new UnavailableError(`the history of setting '${key}' could not be read: ${(error as Error).message}`)
      }
    },
    age,
  }
}

const invalid = (message: string): Error => new InvalidValueError(message)
