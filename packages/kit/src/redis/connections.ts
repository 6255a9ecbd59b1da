import type { Cluster, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { type FailOption, reasonOf } from '../errors.ts'
import { backoff } from '../timing.ts'
import { type RedisClient, type RedisSource, findRedis, isCluster } from './source.ts'

/** What the connections report; Fastify's logger has it. */
export interface ConnectionLog {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

export interface ConnectionsOptions {
  /** Full package name, for messages and connection names: `@fastify-scale/cache`. */
  packageName: string
  /** The plugin's `redis` option. */
  redis: RedisSource | undefined
  /** Where `redis` of @fastify/redis would be: the Fastify instance. */
  host: object
  log: ConnectionLog
  /** Makes the error for a wrong `redis` option. */
  fail?: FailOption
}

/**
 * The Redis connections of one plugin. Each is a duplicate of what the user gave, with the behaviour that its kind
 * needs whatever the user's own client had; each has an `error` listener; all are closed together.
 */
export interface Connections {
  /** True where the user's client is of a Redis Cluster. */
  readonly cluster: boolean
  /** The user's `keyPrefix`, to be put before the plugin's own: our duplicates have none, so that keys and channels agree. */
  readonly keyPrefix: string
  /**
   * For requests: each command settles within `timeout` ms, nothing queues while Redis is away, nothing is sent again
   * after a reconnect. Waits for the connection at most `timeout` ms (at least 1 s, at most `startBudget`) and then
   * returns it as it is.
   */
  command(options: { timeout: number; name?: string; overrides?: RedisOptions }): Promise<RedisClient>
  /**
   * For subscriptions and blocking reads: no command timeout (it would cut a blocking read), so its user keeps a
   * watchdog. Not waited for: see `untilReady`. `overrides` go on top.
   */
  follower(options?: { name?: string; overrides?: RedisOptions; clusterOverrides?: ClusterOptions }): RedisClient
  /** For BullMQ and the Socket.IO adapter: commands wait as long as it takes. */
  patient(options?: { name?: string; overrides?: RedisOptions; clusterOverrides?: ClusterOptions }): RedisClient
  /** Ends every connection made here, a stalled server's within 250 ms. May be called twice. */
  close(): Promise<void>
}

/** Opens the plugin's door to Redis. Nothing is connected until a connection is asked for. */
export async function openConnections(options: ConnectionsOptions): Promise<Connections> {
  const { packageName, log } = options
  const source = await findRedis(options.host, options.redis, packageName, options.fail)
  const made = new Set<RedisClient>()
  let closed = false

  function make(kind: string, label: string | undefined, own: RedisOptions, ownCluster: ClusterOptions): RedisClient {
    const connectionName = `${packageName}:${label ?? kind}`
    const retryStrategy = (attempt: number): number => backoff(attempt)
    const client = isCluster(source)
      ? source.duplicate([], {
          keyPrefix: '',
          // A replica may be behind for as long as its link is down: what was acknowledged must be read.
          scaleReads: 'master',
          lazyConnect: true,
          enableAutoPipelining: false,
          scripts: undefined,
          himportFieldsets: undefined,
          // The cluster's own default leaves a broken node alone until a MOVED says otherwise.
          clusterNodeRetryStrategy: retryStrategy,
          clusterRetryStrategy: retryStrategy,
          ...ownCluster,
          redisOptions: { ...COMMON, ...own, connectionName },
        })
      : source.duplicate({ ...COMMON, ...own, lazyConnect: true, connectionName, retryStrategy })
    made.add(client)
    watch(client, connectionName, log)
    // A failure to connect is not an error here: the client goes on trying, readiness tells.
    client.connect().catch(() => undefined)
    if (closed) client.disconnect()
    return client
  }

  return {
    cluster: isCluster(source),
    keyPrefix: source.options.keyPrefix ?? '',
    async command({ timeout, name, overrides }) {
      const client = make(
        'command',
        name,
        {
          commandTimeout: timeout,
          enableOfflineQueue: false,
          maxRetriesPerRequest: 0,
          // A peer that vanished without a word: the socket is given up and made anew.
          socketTimeout: Math.max(timeout * 10, 5_000),
          connectTimeout: Math.max(timeout * 5, 2_000),
          ...overrides,
        },
        { enableOfflineQueue: false, slotsRefreshTimeout: Math.max(timeout, 500) },
      )
      const { commandTimeout } = { commandTimeout: timeout, ...overrides }
      if (isCluster(client) && commandTimeout !== undefined) countFromStart(client, commandTimeout)
      const patience = Math.min(Math.max(timeout, 1_000), startBudget(options.host))
      await untilReady(client, patience).catch(() => undefined)
      return client
    },
    follower({ name, overrides, clusterOverrides } = {}) {
      return make(
        'follower',
        name,
        { enableOfflineQueue: false, maxRetriesPerRequest: 0, ...overrides },
        { enableOfflineQueue: false, ...clusterOverrides },
      )
    },
    patient({ name, overrides, clusterOverrides } = {}) {
      return make(
        'patient',
        name,
        { enableOfflineQueue: true, maxRetriesPerRequest: null, autoResendUnfulfilledCommands: true, ...overrides },
        { enableOfflineQueue: true, ...clusterOverrides },
      )
    },
    async close() {
      closed = true
      const ending = [...made].map(end)
      made.clear()
      await Promise.all(ending)
    },
  }
}

/**
 * How long registration may wait for a server, in ms: half of Fastify's `pluginTimeout`, past which the start fails, or 5 s
 * where that is off. A service whose server is away comes up all the same.
 */
export function startBudget(host: object): number {
  const { initialConfig } = host as { initialConfig?: { pluginTimeout?: number } }
  return Math.floor((initialConfig?.pluginTimeout || 10_000) / 2)
}

/** What every connection of ours overrides, whatever the user's client had. */
const COMMON: RedisOptions = {
  keyPrefix: '',
  stringNumbers: false,
  replyMapping: 'legacy',
  commandTimeout: undefined,
  socketTimeout: undefined,
  blockingTimeout: undefined,
  enableAutoPipelining: false,
  enableReadyCheck: true,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: true,
  readOnly: false,
  monitor: false,
  scripts: undefined,
  himportFieldsets: undefined,
}

/** A command's time begins when a node takes it, and with a node down it may wait for one: here it begins at once. */
function countFromStart(client: Cluster, timeout: number): void {
  const send = client.sendCommand.bind(client)
  client.sendCommand = (command, stream, node) => {
    command.setTimeout(timeout)
    return send(command, stream, node)
  }
}

/** Disconnects and waits for the socket to be gone; a stalled server never closes its side, so then ours is destroyed. */
export function end(client: RedisClient): Promise<void> {
  return new Promise((resolve) => {
    if (client.status === 'end') return resolve()
    const timer = setTimeout(() => {
      for (const { stream } of nodesOf(client)) stream?.destroy()
      resolve()
    }, 250)
    client.once('end', () => {
      clearTimeout(timer)
      resolve()
    })
    client.disconnect()
  })
}

/** Gives the connection up and makes another. Its socket is destroyed: a dead peer closes nothing, and ioredis would give it 2 s to. */
export function reconnect(client: RedisClient): void {
  const nodes = nodesOf(client)
  client.disconnect(true)
  for (const { stream } of nodes) stream?.destroy()
}

function nodesOf(client: RedisClient): Redis[] {
  return isCluster(client) ? client.nodes() : [client]
}

/** Resolves when the client is ready for commands; rejects after `timeout` ms, on the signal, or when it was ended. */
export function untilReady(client: RedisClient, timeout?: number, signal?: AbortSignal): Promise<void> {
  if (client.status === 'ready') return Promise.resolve()
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      clearTimeout(timer)
      client.off('ready', onReady)
      client.off('end', onEnd)
      signal?.removeEventListener('abort', onAbort)
      if (error) reject(error)
      else resolve()
    }
    const onReady = (): void => settle()
    const onEnd = (): void => settle(new Error('Connection is closed.'))
    const onAbort = (): void => settle(new Error('Aborted'))
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => settle(new Error(`Redis was not ready within ${timeout} ms`)), timeout)
    client.on('ready', onReady)
    client.on('end', onEnd)
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Logs a loss once and the return once; every single error goes to debug. */
function watch(client: RedisClient, connectionName: string, log: ConnectionLog): void {
  let lost = false
  const emitter = client as Redis
  emitter.on('error', (error: Error) => {
    log.debug({ err: error, connection: connectionName }, 'redis connection error')
    if (lost) return
    lost = true
    log.warn({ connection: connectionName, reason: reasonOf(error) }, 'redis connection lost, retrying')
  })
  emitter.on('ready', () => {
    if (lost) log.info({ connection: connectionName }, 'redis connection back')
    lost = false
  })
}
