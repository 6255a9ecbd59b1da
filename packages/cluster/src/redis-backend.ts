import { type Connections, createRedisClock, defineScript, followStream, type RedisClient } from '@fastify-scale/kit'
import { createLeases } from './lease.ts'
import { PUBLISH_LAUNCHER, READ_LAUNCHERS } from './lua/launchers.lua.ts'
import { PUT_SHARED } from './lua/shared.lua.ts'
import { isEnvelope, type SharedEnvelope } from './shared-relay.ts'
import { isFailure, type SharedFailure, type SharedStore } from './shared-store.ts'
import type { Leases } from './singleton.ts'
import type { LauncherStatus } from './status.ts'

const putShared = defineScript(PUT_SHARED)
const publishLauncher = defineScript(PUBLISH_LAUNCHER)
const readLaunchers = defineScript(READ_LAUNCHERS)

/** How often a launcher tells its status, and how long it is believed, in ms. */
export const STATUS_EVERY = 1_000
const STATUS_TTL = 5_000

export interface RedisBackendOptions {
  connections: Connections
  /** The name that machines share. */
  name: string
  /** The launcher's id. */
  owner: string
  lease: number
  commandTimeout: number
  /** A value came from another machine, or was there already. */
  onValue(envelope: SharedEnvelope): void
  /** Another machine wants a value loaded. */
  onLoadRequest(name: string, request: string): void
  /** A load failed on the machine that had to do it. */
  onLoadFailure(failure: SharedFailure): void
  onError(error: unknown, what: string): void
  onLost(name: string): void
}

/** Everything of this package that spans machines. */
export interface RedisBackend {
  leases: Leases
  store: SharedStore
  /** Tells the status of this launcher to the others. */
  publish(status: LauncherStatus): Promise<void>
  /** The statuses of all launchers that were heard of in the last 5 s. */
  launchers(): Promise<LauncherStatus[]>
  ping(): Promise<void>
  close(): Promise<void>
}

/** Opens the connections; waits for Redis no longer than their bound. */
export async function createRedisBackend(options: RedisBackendOptions): Promise<RedisBackend> {
  const { connections, name, owner, lease, commandTimeout, onValue, onLoadRequest, onLoadFailure, onError, onLost } =
    options
  const client = await connections.command({ timeout: commandTimeout })
  const clock = createRedisClock(client)
  // In one slot of a Redis Cluster; '1' is the version of the format.
  const prefix = `${connections.keyPrefix}{fastify-scale:cluster:1:${name}}:`
  const [values, stream] = [`${prefix}values`, `${prefix}shared`]
  const launchers = [`${prefix}launchers`, `${prefix}launchers:until`]

  async function load(field: string): Promise<void> {
    const envelope = parse(await client.hget(values, field), isEnvelope)
    if (envelope) onValue(envelope)
  }

  const follower = followStream({
    client: connections.follower(),
    key: stream,
    async load(ready: RedisClient) {
      // The position first: what is written while the values are read comes again as an entry.
      const [last] = (await ready.xrevrange(stream, '+', '-', 'COUNT', 1)) as [id: string, fields: string[]][]
      for (const [field, text] of Object.entries(await ready.hgetall(values))) {
        const envelope = field.startsWith('v:') ? parse(text, isEnvelope) : undefined
        if (envelope) onValue(envelope)
      }
      return last?.[0] ?? '0-0'
    },
    onEntry({ fields }) {
      if (fields['load'] !== undefined) return onLoadRequest(fields['load'], String(fields['request']))
      if (fields['failure'] !== undefined) {
        const failure = parse(fields['failure'], isFailure)
        return failure && onLoadFailure(failure)
      }
      load(`v:${fields['name']}`).catch((error: unknown) => onError(error, `shared value '${fields['name']}'`))
    },
    onError: (error) => onError(error, 'following shared values'),
  })

  return {
    leases: createLeases({
      client,
      clock,
      prefix: `${prefix}lease:`,
      owner,
      ttl: lease,
      commandTimeout,
      onError: (error, singleton) => onError(error, `lease of '${singleton}'`),
      onLost,
    }),
    store: {
      async put(envelope) {
        const deadline = await clock.deadline(commandTimeout)
        const args = [envelope.name, JSON.stringify(envelope), envelope.fencing, deadline]
        return (await putShared(client, [values, stream], args)) === 1
      },
      async requestLoad(shared, request) {
        await client.xadd(stream, 'MAXLEN', '~', 256, '*', 'load', shared, 'request', request)
      },
      async tellFailure(failure) {
        await client.xadd(stream, 'MAXLEN', '~', 256, '*', 'failure', JSON.stringify(failure))
      },
    },
    async publish(status) {
      await publishLauncher(client, launchers, [status.id, JSON.stringify(status), STATUS_TTL])
    },
    async launchers() {
      const texts = (await readLaunchers(client, launchers, [])) as (string | null)[]
      return texts.filter((text) => text !== null).map((text) => JSON.parse(text) as LauncherStatus)
    },
    async ping() {
      await client.ping()
    },
    async close() {
      await follower.close()
      await connections.close()
    },
  }
}

function parse<T>(text: string | null | undefined, is: (data: unknown) => data is T): T | undefined {
  try {
    const data: unknown = JSON.parse(text ?? 'null')
    return is(data) ? data : undefined
  } catch {
    return undefined
  }
}
