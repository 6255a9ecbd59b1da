import { type Duration, type RedisSource, checkKnown, parseDuration, parseInteger, show } from '@fastify-scale/kit'
import type { ServerOptions } from 'socket.io'
import type { Authenticate } from './authentication.ts'
import { fail, flag, text } from './check.ts'
import { type LimitOptions, type ResolvedLimits, resolveLimits } from './limit-options.ts'
import { checkRedis } from './redis-option.ts'
import { type AuthorizeRoom, type RoomOptions, type RoomRule, resolveRooms } from './room-options.ts'

export interface RealtimeOptions {
  /**
   * Where Redis is. Default: `fastify.redis` of @fastify/redis. Not needed for `adapter: 'none'` without `rooms`. With
   * `enableOfflineQueue: false` or `replyMapping: 'resp3'` it is refused.
   */
  redis?: RedisSource
  /**
   * How broadcasts reach other processes: `'redis'` (default), `'redis-sharded'` (Redis 7 and later; advised on Redis
   * Cluster or past about 8 machines), or `'none'` for a single process.
   */
  adapter?: 'redis' | 'redis-sharded' | 'none'
  /** Path of the websocket. Default `'/socket.io'`. */
  path?: string
  /** Put before every key of ours. Default `'fastify-scale:realtime:'`. */
  prefix?: string
  /** The adapter's channel prefix, as other Socket.IO servers and emitters on this Redis have it. Default `'socket.io'`. */
  channel?: string
  /**
   * Who a client is. Default: the authenticator that @fastify-scale/auth offers; without one clients are anonymous.
   * `false`: anonymous in any case.
   */
  authenticate?: Authenticate | false
  /** Lets clients in that show no credentials, as anonymous. Default false. */
  anonymous?: boolean
  /** Namespaces that see to authentication themselves: `['/admin']` for the admin UI. Default none. */
  openNamespaces?: readonly string[]
  /** Origins of pages, other than this host's, that may connect with cookies: `['https://app.example.com']`. */
  origins?: readonly string[]
  /** Whether a client may join a room by itself. Default: no. */
  authorizeRoom?: AuthorizeRoom
  /** Rooms with history or presence, by name or pattern (`*` stands for any text); the first that fits counts. */
  rooms?: Record<string, RoomOptions>
  /**
   * The trace that a message belongs to, as a W3C `traceparent` (Trace Context, level 1); asked at each `publish()` to a room
   * with history, and given to the client with the message. Default: none.
   */
  traceparent?: () => string | undefined
  /** How long `publish()` tries. Default `'5s'`. */
  publishTimeout?: Duration
  /** How long before its token ends a client is asked for a new one. Default `'30s'`. */
  tokenWarning?: Duration
  /** How long after a crash `presence()` still names its sockets. Default `'15s'`. */
  presenceTtl?: Duration
  /** How often a quiet room with history is checked for what did not arrive. Default `'5s'`. */
  checkInterval?: Duration
  limits?: LimitOptions
  drain?: {
    /** Sockets closed a second, so that the other processes are not flooded. Default 1,000. */
    rate?: number
    /** How long a closed client may take to answer before it is cut. Default `'2s'`. */
    stragglers?: Duration
  }
  /** How often the server asks whether a client lives. Default `'25s'`. */
  pingInterval?: Duration
  /** How long the client may take to answer that. Default `'20s'`. */
  pingTimeout?: Duration
  /** How long a connection may stay without a namespace. Default `'10s'`. */
  connectTimeout?: Duration
  /** Names of the decorators. Default `{ io: 'io', realtime: 'realtime' }`. */
  decorators?: { io?: string; realtime?: string }
  /** Further options of Socket.IO, for example `parser`. Those that this plugin sets itself are refused. */
  io?: Partial<Omit<ServerOptions, OwnedOption>>
}

type OwnedOption =
  | 'transports'
  | 'adapter'
  | 'path'
  | 'serveClient'
  | 'maxHttpBufferSize'
  | 'perMessageDeflate'
  | 'connectionStateRecovery'
  | 'pingInterval'
  | 'pingTimeout'
  | 'connectTimeout'
  | 'allowUpgrades'
  | 'cors'

const OWNED: readonly OwnedOption[] = [
  'transports',
  'adapter',
  'path',
  'serveClient',
  'maxHttpBufferSize',
  'perMessageDeflate',
  'connectionStateRecovery',
  'pingInterval',
  'pingTimeout',
  'connectTimeout',
  'allowUpgrades',
  'cors',
]

export interface ResolvedOptions {
  redis: RedisSource | undefined
  adapter: 'redis' | 'redis-sharded' | 'none'
  path: string
  prefix: string
  channel: string
  authenticate: Authenticate | false | undefined
  anonymous: boolean
  openNamespaces: ReadonlySet<string>
  origins: ReadonlySet<string>
  authorizeRoom: AuthorizeRoom
  rooms: readonly RoomRule[]
  traceparent: (() => string | undefined) | undefined
  publishTimeout: number
  tokenWarning: number
  presenceTtl: number
  checkInterval: number
  limits: ResolvedLimits
  drain: { rate: number; stragglers: number }
  pingInterval: number
  pingTimeout: number
  connectTimeout: number
  decorators: { io: string; realtime: string }
  io: Partial<ServerOptions>
}

const KNOWN = [
  'redis',
  'adapter',
  'path',
  'prefix',
  'channel',
  'authenticate',
  'anonymous',
  'openNamespaces',
  'origins',
  'authorizeRoom',
  'rooms',
  'traceparent',
  'publishTimeout',
  'tokenWarning',
  'presenceTtl',
  'checkInterval',
  'limits',
  'drain',
  'pingInterval',
  'pingTimeout',
  'connectTimeout',
  'decorators',
  'io',
  // Set by Fastify's register().
  'logLevel',
  'logSerializers',
]

const WHERE = '@fastify-scale/realtime'

/** Copies the options, fills in defaults and checks them. @throws SCALE_REALTIME_OPTION */
export function resolveOptions(options: RealtimeOptions): ResolvedOptions {
  checkKnown(options, KNOWN, WHERE, fail)
  const { authenticate, authorizeRoom = () => false, adapter = 'redis', path = '/socket.io' } = options
  if (!['redis', 'redis-sharded', 'none'].includes(adapter))
    throw fail(`option 'adapter' must be 'redis', 'redis-sharded' or 'none', but is ${show(adapter)}`)
  if (typeof path !== 'string' || !/^(\/[\w.~-]+)+\/?$/.test(path))
    throw fail(`option 'path' must be a path like '/socket.io', but is ${show(path)}`)
  if (authenticate !== undefined && authenticate !== false && typeof authenticate !== 'function')
    throw fail(`option 'authenticate' must be a function or false, but is ${show(authenticate)}`)
  if (typeof authorizeRoom !== 'function')
    throw fail(`option 'authorizeRoom' must be a function, but is ${show(authorizeRoom)}`)
  if (options.traceparent !== undefined && typeof options.traceparent !== 'function')
    throw fail(`option 'traceparent' must be a function, but is ${show(options.traceparent)}`)
  const rooms = resolveRooms(options.rooms ?? {})
  if (adapter !== 'none' || rooms.length > 0) checkRedis(options.redis)
  const io = options.io ?? {}
  for (const key of Object.keys(io)) {
    if ((OWNED as readonly string[]).includes(key))
      throw fail(`option 'io.${key}' is set by this plugin: use its own option, if there is one`)
  }
  const drain = options.drain ?? {}
  checkKnown(drain, ['rate', 'stragglers'], "option 'drain'", fail)
  const decorators = options.decorators ?? {}
  checkKnown(decorators, ['io', 'realtime'], "option 'decorators'", fail)
  const duration = (name: string, value: Duration, min = 1): number => parseDuration(value, { name, min, fail })
  return {
    redis: options.redis,
    adapter,
    path: path.replace(/\/$/, ''),
    prefix: text('prefix', options.prefix ?? 'fastify-scale:realtime:'),
    channel: text('channel', options.channel ?? 'socket.io'),
    authenticate,
    anonymous: flag('anonymous', options.anonymous ?? false),
    openNamespaces: new Set(list('openNamespaces', options.openNamespaces).map(namespaceOf)),
    origins: new Set(list('origins', options.origins).map(originOf)),
    authorizeRoom,
    rooms,
    traceparent: options.traceparent,
    publishTimeout: duration('publishTimeout', options.publishTimeout ?? '5s', 100),
    tokenWarning: duration('tokenWarning', options.tokenWarning ?? '30s', 0),
    presenceTtl: duration('presenceTtl', options.presenceTtl ?? '15s', 1_000),
    checkInterval: duration('checkInterval', options.checkInterval ?? '5s', 100),
    limits: resolveLimits(options.limits ?? {}),
    drain: {
      rate: parseInteger(drain.rate ?? 1_000, { name: 'drain.rate', fail }),
      stragglers: duration('drain.stragglers', drain.stragglers ?? '2s', 0),
    },
    pingInterval: duration('pingInterval', options.pingInterval ?? '25s', 100),
    pingTimeout: duration('pingTimeout', options.pingTimeout ?? '20s', 100),
    connectTimeout: duration('connectTimeout', options.connectTimeout ?? '10s', 100),
    decorators: {
      io: text('decorators.io', decorators.io ?? 'io'),
      realtime: text('decorators.realtime', decorators.realtime ?? 'realtime'),
    },
    io: { ...io },
  }
}

function list(name: string, value: readonly string[] = []): readonly string[] {
  if (!Array.isArray(value)) throw fail(`option '${name}' must be a list, but is ${show(value)}`)
  return value
}

function namespaceOf(name: string): string {
  if (typeof name !== 'string' || !name.startsWith('/'))
    throw fail(`option 'openNamespaces' must hold names like '/admin', but has ${show(name)}`)
  return name
}

function originOf(origin: string): string {
  if (typeof origin !== 'string' || !URL.canParse(origin) || new URL(origin).origin !== origin)
    throw fail(`option 'origins' must hold origins like 'https://app.example.com', but has ${show(origin)}`)
  return origin
}
