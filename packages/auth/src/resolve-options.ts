import { type Duration, type RedisSource, checkKnown, parseDuration, parseInteger, show } from '@fastify-scale/kit'
import type { TokenProfile } from './claims.ts'
import type { CookieSettings } from './cookies.ts'
import { AuthOptionError } from './errors.ts'
import type { Jwks } from './keys.ts'
import type { CookieOptions, DecoratorNames, ProfileOptions, ScaleAuthOptions, SessionOptions } from './options.ts'
import { ALGORITHMS, type Algorithm, isAlgorithm } from './signature.ts'

/** The options, checked, with every default filled in. Times in ms. */
export interface ResolvedOptions {
  source:
    | { kind: 'secret'; secrets: readonly (string | Uint8Array)[] }
    | { kind: 'keys'; keys: Jwks }
    | { kind: 'load'; load: string | (() => Jwks | Promise<Jwks>) }
    | { kind: 'remote'; url: URL }
  /** Set where the tokens are another issuer's. */
  foreign: { algorithms: readonly Algorithm[]; rsaAlgorithm: 'RS256' | 'PS256' } | undefined
  keysRefresh: number
  profile: TokenProfile
  accessTokenTtl: number
  sessions: ResolvedSessions | undefined
  cookies: CookieSettings | undefined
  origins: readonly string[]
  jwks: { path: string; maxAge: number } | undefined
  cacheSize: number
  decorators: DecoratorNames
}

export interface ResolvedSessions {
  redis: RedisSource | undefined
  prefix: string
  idleTimeout: number
  absoluteTimeout: number
  reuseGrace: number
  maxStaleness: number
  commandTimeout: number
}

const fail = (message: string): Error => new AuthOptionError(message)
const duration = (value: Duration, name: string, min: number, max: number): number =>
  parseDuration(value, { name, min, max, fail })

const DAY = 86_400_000

/** Copies, fills in and checks. @throws SCALE_AUTH_OPTION */
export function resolveOptions(options: ScaleAuthOptions): ResolvedOptions {
  if (typeof options !== 'object' || options === null) throw fail('@fastify-scale/auth needs options')
  checkKnown(options, OPTION_NAMES, '@fastify-scale/auth', fail)
  const source = resolveSource(options)
  const issuer = text(options.issuer, 'issuer')
  const audience = typeof options.audience === 'string' ? [options.audience] : (options.audience ?? [issuer])
  if (!Array.isArray(audience) || audience.length === 0)
    throw fail(`option 'audience' must be a text or a list of texts, but is ${show(options.audience)}`)
  for (const one of audience) text(one, 'audience')
  const accessTokenTtl = duration(options.accessTokenTtl ?? '5m', 'accessTokenTtl', 1_000, DAY)
  if (accessTokenTtl % 1_000 !== 0)
    throw fail(`option 'accessTokenTtl' must be whole seconds, but is ${show(options.accessTokenTtl)}`)
  const own = source.kind !== 'remote' && options.profile === undefined
  const lifetime = duration(
    options.maxTokenLifetime ?? (own ? accessTokenTtl : '24h'),
    'maxTokenLifetime',
    own ? accessTokenTtl : 1_000,
    365 * DAY,
  )
  const tolerance = duration(options.clockTolerance ?? '5s', 'clockTolerance', 0, 60_000)
  const sessions = options.sessions ? resolveSessions(options.sessions) : undefined
  if (sessions && tolerance < 1_000)
    throw fail(
      `option 'clockTolerance' must be at least 1 s with 'sessions', but is ${show(options.clockTolerance)}: a token issued in the second of a revocation is dated the next one`,
    )
  const cookies = options.cookies ? resolveCookies(options.cookies === true ? {} : options.cookies) : undefined
  const foreign = options.profile ?? {}
  checkKnown(foreign, PROFILE_NAMES, 'profile', fail)
  return {
    source,
    foreign: own
      ? undefined
      : { algorithms: resolveAlgorithms(foreign), rsaAlgorithm: foreign.rsaAlgorithm ?? 'RS256' },
    keysRefresh: duration(options.keysRefresh ?? (source.kind === 'remote' ? '5m' : '10s'), 'keysRefresh', 100, DAY),
    profile: own
      ? {
          typ: 'at+jwt',
          issuer,
          audience,
          audienceLists: false,
          required: sessions ? ['jti', 'sid'] : ['jti'],
          kidRequired: true,
          maxLifetime: lifetime / 1_000,
          clockTolerance: tolerance / 1_000,
        }
      : {
          typ: foreign.typ === false ? undefined : text(foreign.typ ?? 'at+jwt', 'profile.typ'),
          issuer,
          audience,
          audienceLists: true,
          required: (foreign.requiredClaims ?? []).map((claim) => text(claim, 'profile.requiredClaims')),
          kidRequired: false,
          maxLifetime: lifetime / 1_000,
          clockTolerance: tolerance / 1_000,
        },
    accessTokenTtl,
    sessions,
    cookies: cookies?.settings,
    origins: cookies?.origins ?? [],
    jwks: resolveJwks(options, source.kind),
    cacheSize: parseInteger(options.cacheSize ?? 10_000, { name: 'cacheSize', min: 0, max: 10_000_000, fail }),
    decorators: resolveDecorators(options.decorators ?? {}),
  }
}

const OPTION_NAMES = [
  'secret',
  'keys',
  'jwksUrl',
  'keysRefresh',
  'issuer',
  'audience',
  'accessTokenTtl',
  'clockTolerance',
  'maxTokenLifetime',
  'profile',
  'sessions',
  'cookies',
  'jwks',
  'cacheSize',
  'decorators',
]
const PROFILE_NAMES = ['typ', 'requiredClaims', 'algorithms', 'rsaAlgorithm', 'allowHttp']

function resolveSource(options: ScaleAuthOptions): ResolvedOptions['source'] {
  const { secret, keys, jwksUrl, profile = {} } = options
  if ([secret, keys, jwksUrl].filter((one) => one !== undefined).length !== 1)
    throw fail("give exactly one of the options 'secret', 'keys' and 'jwksUrl'")
  if (secret !== undefined)
    return { kind: 'secret', secrets: Array.isArray(secret) ? secret : [secret as string | Uint8Array] }
  if (typeof keys === 'string' || typeof keys === 'function') return { kind: 'load', load: keys }
  if (keys !== undefined) return { kind: 'keys', keys }
  const url = typeof jwksUrl === 'string' && URL.canParse(jwksUrl) ? new URL(jwksUrl) : undefined
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw fail(
      `option 'jwksUrl' must be a URL like 'https://issuer.example/.well-known/jwks.json', but is ${show(jwksUrl)}`,
    )
  if (url.protocol === 'http:' && !profile.allowHttp && !['localhost', '127.0.0.1', '[::1]'].includes(url.hostname))
    throw fail(
      "option 'jwksUrl' must be https: whoever can change the answer can make tokens (profile.allowHttp takes it all the same)",
    )
  return { kind: 'remote', url }
}

function resolveAlgorithms({ algorithms = ALGORITHMS.filter((one) => one !== 'HS256') }: ProfileOptions): Algorithm[] {
  if (!Array.isArray(algorithms) || !algorithms.every((one) => isAlgorithm(one) && (one as string) !== 'HS256'))
    throw fail(
      `option 'profile.algorithms' must be a list of RS256, PS256, ES256 and EdDSA, but is ${show(algorithms)}`,
    )
  return algorithms
}

function resolveSessions(options: SessionOptions): ResolvedSessions {
  checkKnown(
    options,
    ['redis', 'prefix', 'idleTimeout', 'absoluteTimeout', 'reuseGrace', 'maxStaleness', 'commandTimeout'],
    'sessions',
    fail,
  )
  const absoluteTimeout = duration(options.absoluteTimeout ?? '30d', 'sessions.absoluteTimeout', 1_000, 400 * DAY)
  return {
    redis: options.redis,
    prefix: options.prefix ?? 'auth:',
    idleTimeout: duration(options.idleTimeout ?? '14d', 'sessions.idleTimeout', 1_000, 400 * DAY),
    absoluteTimeout,
    reuseGrace: duration(options.reuseGrace ?? '10s', 'sessions.reuseGrace', 0, 300_000),
    maxStaleness: duration(options.maxStaleness ?? '5s', 'sessions.maxStaleness', 500, 3_600_000),
    commandTimeout: duration(options.commandTimeout ?? '1s', 'sessions.commandTimeout', 10, 60_000),
  }
}

function resolveCookies(options: CookieOptions): { settings: CookieSettings; origins: readonly string[] } {
  checkKnown(options, ['accessName', 'refreshName', 'refreshPath', 'sameSite', 'origins'], 'cookies', fail)
  const {
    accessName = '__Host-access',
    refreshName = '__Secure-refresh',
    refreshPath = '/auth',
    sameSite = 'Lax',
  } = options
  for (const [value, prefix, name] of [
    [accessName, '__Host-', 'accessName'],
    [refreshName, '__Secure-', 'refreshName'],
  ] as const)
    if (typeof value !== 'string' || !value.startsWith(prefix) || !/^[\w-]+$/.test(value))
      throw fail(`option 'cookies.${name}' must be a name that begins with '${prefix}', but is ${show(value)}`)
  if (typeof refreshPath !== 'string' || !/^\/[\w\-./~]*$/.test(refreshPath))
    throw fail(`option 'cookies.refreshPath' must be a path like '/auth', but is ${show(refreshPath)}`)
  if (!['Strict', 'Lax', 'None'].includes(sameSite))
    throw fail(`option 'cookies.sameSite' must be 'Strict', 'Lax' or 'None', but is ${show(sameSite)}`)
  const origins = options.origins ?? []
  for (const origin of origins)
    if (typeof origin !== 'string' || !URL.canParse(origin) || new URL(origin).origin !== origin)
      throw fail(`option 'cookies.origins' must be origins like 'https://app.example', but has ${show(origin)}`)
  return { settings: { accessName, refreshName, refreshPath, sameSite }, origins }
}

function resolveJwks(options: ScaleAuthOptions, kind: string): ResolvedOptions['jwks'] {
  const serves = (kind === 'keys' || kind === 'load') && options.profile === undefined
  const { jwks = serves } = options
  if (!jwks) return undefined
  if (!serves) throw fail("option 'jwks' serves public keys, which only 'keys' has")
  const { path = '/.well-known/jwks.json', maxAge = '5m' } = jwks === true ? {} : jwks
  if (typeof path !== 'string' || !path.startsWith('/'))
    throw fail(`option 'jwks.path' must be a path, but is ${show(path)}`)
  return { path, maxAge: duration(maxAge, 'jwks.maxAge', 0, DAY) }
}

function resolveDecorators(names: Partial<DecoratorNames>): DecoratorNames {
  const defaults: DecoratorNames = {
    auth: 'auth',
    authenticate: 'authenticate',
    requireRole: 'requireRole',
    requireScope: 'requireScope',
    user: 'user',
  }
  checkKnown(names, Object.keys(defaults), 'decorators', fail)
  for (const [key, value] of Object.entries(names))
    if (value !== undefined) defaults[key as keyof DecoratorNames] = text(value, `decorators.${key}`)
  return defaults
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw fail(`option '${name}' must be a text, but is ${show(value)}`)
  return value
}
