import {
  type Duration,
  type FailOption,
  type RedisSource,
  type Size,
  checkKnown,
  parseDuration,
  parseInteger,
  parseSize,
  show,
} from '@fastify-scale/kit'
import type { IncomingHttpHeaders } from 'node:http'
import type { ServerOptions } from 'socket.io'
import { OptionError } from './errors.ts'
import type { RealtimeSocket, RealtimeUser } from './types.ts'

/** What a client showed when it connected, or when it sent a fresh token. */
export interface Credentials {
  /** The token of the handshake's `auth.token`, or of `Authorization: Bearer`. */
  token: string | undefined
  headers: IncomingHttpHeaders
  /** The handshake's `auth` object. */
  auth: Record<string, unknown>
  /** The client's address, as `request.ip` gives it. */
  address: string
}

/**
 * Says who a client is. Throw, or return null, to refuse it: an error whose code ends in `TOKEN_EXPIRED` tells the
 * client to fetch a new token; one with a `statusCode` of 500 or more to try again later; any other is `TOKEN_INVALID`.
 */
export type Authenticate = (
  credentials: Credentials,
) => RealtimeUser | null | undefined | Promise<RealtimeUser | null | undefined>

/** Says whether a client may join a room. */
export type AuthorizeRoom = (context: {
  room: string
  /** Absent for an anonymous socket. */
  user: RealtimeUser | undefined
  socket: RealtimeSocket
}) => boolean | Promise<boolean>

export interface RoomOptions {
  /** How many messages are kept, so that nobody misses one. Default 0: a plain room. */
  history?: number
  /** How long they are kept after the last one. Default `'2m'`. */
  ttl?: Duration
  /** Whether `presence()` is kept. Default true. */
  presence?: boolean
}

export interface LimitOptions {
  /** Largest message from a client, after which its connection is cut (close code 1009). Default `'100KB'`. */
  maxPayload?: Size
  /** Largest `auth` of a handshake, in its JSON form. Default `'16KB'`. */
  maxAuth?: Size
  /** Messages a second from one connection; a client that sends more is read more slowly, and cut past 10 s of debt. Default 50. */
  events?: number
  /** Rooms that a client may be in, per socket; it may join twice as many at once, and a fifth of it each second. Default 100. */
  rooms?: number
  /** Handshakes a second from one address (`request.ip`: mind `trustProxy`) to one process. Default 1,000. */
  handshakes?: number
  /** Messages that may wait for a client that reads nothing for a second; at eight times as many it is cut at once. Default 1,000. */
  slowMessages?: number
  /** The same in bytes. Default `'4MB'`. */
  slowBytes?: Size
  /** Messages for the other processes that wait while Redis is away; what is above is dropped and counted. Default 10,000. */
  pendingPublishes?: number
}

export interface RealtimeOptions {
  /** Where Redis is. Default: `fastify.redis` of @fastify/redis. Not needed for `adapter: 'none'` without `rooms`. */
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

/** A pattern of `rooms`, ready for use. */
export interface RoomRule {
  matches(room: string): boolean
  /** 0: no history. */
  history: number
  /** ms */
  ttl: number
  presence: boolean
}

export interface ResolvedLimits {
  maxPayload: number
  maxAuth: number
  events: number
  rooms: number
  handshakes: number
  slowMessages: number
  slowBytes: number
  pendingPublishes: number
}

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

export const fail: FailOption = (message) => new OptionError(message)
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
    openNamespaces: new Set(options.openNamespaces ?? []),
    origins: new Set((options.origins ?? []).map(originOf)),
    authorizeRoom,
    rooms: resolveRooms(options.rooms ?? {}),
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

function resolveLimits(limits: LimitOptions): ResolvedLimits {
  const counts = {
    events: 50,
    rooms: 100,
    handshakes: 1_000,
    slowMessages: 1_000,
    pendingPublishes: 10_000,
  }
  const sizes = { maxPayload: '100KB', maxAuth: '16KB', slowBytes: '4MB' }
  checkKnown(limits, [...Object.keys(counts), ...Object.keys(sizes)], "option 'limits'", fail)
  const resolved: Record<string, number> = {}
  for (const name of Object.keys(counts) as (keyof typeof counts)[])
    resolved[name] = parseInteger(limits[name] ?? counts[name], { name: `limits.${name}`, fail })
  for (const name of Object.keys(sizes) as (keyof typeof sizes)[])
    resolved[name] = parseSize(limits[name] ?? sizes[name], { name: `limits.${name}`, min: 64, fail })
  return resolved as unknown as ResolvedLimits
}

function resolveRooms(rooms: Record<string, RoomOptions>): RoomRule[] {
  return Object.entries(rooms).map(([pattern, rule]) => {
    const name = `rooms['${pattern}']`
    if (pattern === '') throw fail("option 'rooms' has an empty name")
    if (typeof rule !== 'object' || rule === null)
      throw fail(`option '${name}' must be an object, but is ${show(rule)}`)
    checkKnown(rule, ['history', 'ttl', 'presence'], `option '${name}'`, fail)
    return {
      matches: roomMatcher(pattern),
      history: parseInteger(rule.history ?? 0, { name: `${name}.history`, min: 0, max: 1_000_000, fail }),
      ttl: parseDuration(rule.ttl ?? '2m', { name: `${name}.ttl`, min: 1_000, fail }),
      presence: flag(`${name}.presence`, rule.presence ?? true),
    }
  })
}

function roomMatcher(pattern: string): (room: string) => boolean {
  const parts = pattern.split('*')
  if (parts.length === 1) return (room) => room === pattern
  const [prefix = '', suffix] = parts
  if (parts.length === 2 && suffix === '') return (room) => room.startsWith(prefix)
  const source = parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')
  const expression = new RegExp(`^${source}$`, 's')
  return (room) => expression.test(room)
}

function originOf(origin: string): string {
  if (typeof origin !== 'string' || !URL.canParse(origin) || new URL(origin).origin !== origin)
    throw fail(`option 'origins' must hold origins like 'https://app.example.com', but has ${show(origin)}`)
  return origin
}

function text(name: string, value: string): string {
  if (typeof value !== 'string' || value === '' || /[{}]/.test(value))
    throw fail(`option '${name}' must be text without braces, but is ${show(value)}`)
  return value
}

function flag(name: string, value: boolean): boolean {
  if (typeof value !== 'boolean') throw fail(`option '${name}' must be true or false, but is ${show(value)}`)
  return value
}
