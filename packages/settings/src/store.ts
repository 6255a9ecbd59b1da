import {
  type RedisClient,
  type RedisClock,
  type StreamEntry,
  defineScript,
  isRefusal,
  retryWithin,
  withDeadline,
} from '@fastify-scale/kit'
import { ConflictError, UnavailableError } from './errors.ts'
import { SET } from './lua/set.lua.ts'
import { SNAPSHOT } from './lua/snapshot.lua.ts'

/** What Redis has of one setting. */
export interface Stored {
  version: number
  /** `''` for the default. */
  json: string
}

/** One change as the stream has it. */
export interface StoredChange extends Stored {
  key: string
  /** `''` where it was the default, or is not known. */
  previous: string
  at: number
  by: string | undefined
}

export interface Snapshot {
  values: Map<string, Stored>
  /** The last change that the values contain. */
  position: string
}

/** The names of what is kept in Redis; one hash slot. */
export interface Keys {
  values: string
  changes: string
}

export function keysOf(prefix: string): Keys {
  return { values: `{${prefix}}:1:values`, changes: `{${prefix}}:1:changes` }
}

const setScript = defineScript(SET)
const snapshotScript = defineScript(SNAPSHOT)

/** Reads all values, and the place in the stream that they belong to. */
export async function readSnapshot(client: RedisClient, keys: Keys): Promise<Snapshot> {
  const [flat, position] = (await snapshotScript(client, [keys.values, keys.changes], [])) as [string[], string]
  const values = new Map<string, Stored>()
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const field = flat[i + 1] as string
    const colon = field.indexOf(':')
    const version = Number(field.slice(0, colon))
    // What is not ours, or damaged, counts as not there.
    if (colon > 0 && Number.isSafeInteger(version))
      values.set(flat[i] as string, { version, json: field.slice(colon + 1) })
  }
  return { values, position }
}

/** The change that a stream entry tells of; `undefined` where it is not one of ours. */
export function toChange({ fields }: StreamEntry): StoredChange | undefined {
  const { k: key, v: json, o: previous, n, at, by } = fields
  const version = Number(n)
  if (key === undefined || json === undefined || !Number.isSafeInteger(version)) return undefined
  return { key, json, previous: previous ?? '', version, at: Number(at), by: by || undefined }
}

/** How far the clock of a Redis that took over may be behind, in ms. */
const SKEW_MS = 1_000

export interface WriteOptions {
  client: RedisClient
  clock: RedisClock
  keys: Keys
  /** For the whole call, in ms. */
  timeout: number
  /** How many changes the stream keeps, about. */
  history: number
  /** Makes an id that no other call has. */
  randomId: () => string
}

export interface Write {
  key: string
  /** `''` for the default. */
  json: string
  ifVersion: number | undefined
  by: string | undefined
  /** The version whose value this release refuses: `versions()` never has it, so that no `ifVersion` can match it. */
  refused: number | undefined
}

/**
 * Writes one change. A connection that breaks on the way is no reason to give up before the time is over: the call goes
 * on under the same id, so that it is done once.
 *
 * @throws SCALE_SETTINGS_CONFLICT, SCALE_SETTINGS_UNAVAILABLE
 */
export async function write(options: WriteOptions, change: Write): Promise<StoredChange> {
  const { client, clock, keys, timeout } = options
  const { key, json, ifVersion, by, refused } = change
  const id = options.randomId()
  let deadline: number | undefined
  let sent = false
  try {
    const attempts = retryWithin(
      timeout,
      async (left) => {
        deadline ??= await clock.deadline(left)
        const since = sent ? deadline - timeout - SKEW_MS : ''
        const args = [deadline, key, json, ifVersion ?? '', by ?? '', options.history, id, since]
        sent = true
        const reply = (await setScript(client, [keys.values, keys.changes], args)) as string[]
        const [outcome, version, at, previous] = reply as [string, string, string, string]
        if (outcome === 'OK') return { key, json, previous, version: Number(version), at: Number(at), by }
        if (outcome === 'CONFLICT')
          throw new ConflictError(
            Number(version) === refused
              ? `setting '${key}' has a value of another release, version ${version}, which this release refuses: reset it, or set it without ifVersion`
              : `setting '${key}' has version ${version}, not ${ifVersion}: read it again and decide anew`,
          )
        throw new UnavailableError(
          outcome === 'LOST' ? 'whether an attempt got through is not known any more' : 'it came too late',
        )
      },
      (error) => error instanceof ConflictError || error instanceof UnavailableError || isRefusal(error),
    )
    // One attempt may ask for the clock as well, and each answer has the whole time.
    return await withDeadline(attempts, timeout, 'the change')
  } catch (error) {
    if (error instanceof ConflictError) throw error
    throw new UnavailableError(
      `setting '${key}' could not be changed within ${timeout} ms (${(error as Error).message}); if the change was not made by now, it will not be made`,
    )
  }
}

const PAGE = 500

/** The last changes of one setting, newest first. */
export async function readHistory(
  client: RedisClient,
  keys: Keys,
  key: string,
  limit: number,
): Promise<StoredChange[]> {
  const changes: StoredChange[] = []
  let end = '+'
  for (;;) {
    const page = await client.xrevrange(keys.changes, end, '-', 'COUNT', PAGE)
    for (const [id, flat] of page) {
      const fields: Record<string, string> = {}
      for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] as string] = flat[i + 1] as string
      const change = toChange({ id, fields })
      if (change?.key !== key) continue
      if (changes.push(change) >= limit) return changes
    }
    if (page.length < PAGE) return changes
    end = `(${(page.at(-1) as [string, string[]])[0]}`
  }
}
