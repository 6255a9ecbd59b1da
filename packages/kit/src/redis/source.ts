import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { type FailOption, NoRedisError, failOption } from '../errors.ts'
import { show } from '../options.ts'

/** A Redis client of one server or of a Redis Cluster. */
export type RedisClient = Redis | Cluster

/**
 * Where Redis is: an ioredis client (`Redis` or `Cluster`; we work on duplicates and never close it), a URL
 * (`redis://`, `rediss://`), or ioredis options.
 */
export type RedisSource = RedisClient | RedisOptions | string

/** Recognised by shape: a client from another copy of ioredis is as good as one from ours. */
export function isRedisClient(value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false
  const client = value as Partial<Redis>
  return (
    typeof client.duplicate === 'function' &&
    typeof client.status === 'string' &&
    typeof client.defineCommand === 'function'
  )
}

/** True for a client of a Redis Cluster. */
export function isCluster(client: RedisClient): client is Cluster {
  return client.isCluster
}

/**
 * Finds the Redis to use: the option where it is given, else `fastify.redis` of @fastify/redis.
 * A URL or options make a client that is never connected; it only serves as the pattern for duplicates.
 *
 * @throws SCALE_KIT_NO_REDIS where there is neither; the check's error where the option is none of the three
 */
export async function findRedis(
  host: object,
  option: RedisSource | undefined,
  packageName: string,
  fail: FailOption = failOption,
): Promise<RedisClient> {
  if (option === undefined) {
    const { redis } = host as { redis?: unknown }
    if (isRedisClient(redis)) return redis
    throw new NoRedisError(
      `${packageName} needs Redis: pass { redis: 'redis://host:6379' } (a URL, ioredis options or an ioredis client), or register @fastify/redis before it`,
    )
  }
  if (isRedisClient(option)) return option
  if (typeof option === 'string') {
    if (!/^(rediss?|unix):\/\/|^\//.test(option) || (!option.startsWith('/') && !URL.canParse(option)))
      throw fail(
        `option 'redis' of ${packageName} must be a URL like 'redis://host:6379', but is ${show(hidePassword(option))}${option.includes('@') ? '; percent-encode / @ : ? # in its password' : ''}`,
      )
    return new (await loadRedis()).Redis(option, { lazyConnect: true })
  }
  if (isOptions(option)) return new (await loadRedis()).Redis({ ...option, lazyConnect: true })
  throw fail(
    `option 'redis' of ${packageName} must be an ioredis client, a URL as text or ioredis options, but is ${describe(option)}`,
  )
}

const PLACES = ['host', 'port', 'path', 'sentinels']

/** Options say where Redis is, or are plain: of a promise, a URL object or another library's client ioredis would make localhost. */
function isOptions(option: unknown): option is RedisOptions {
  if (typeof option !== 'object' || option === null || Array.isArray(option)) return false
  if (PLACES.some((name) => Object.hasOwn(option, name))) return true
  const prototype: unknown = Object.getPrototypeOf(option)
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null
  return isPlain && !Object.hasOwn(option, 'url')
}

/** Without what is in it, which may be a password. */
function describe(option: unknown): string {
  if (typeof option !== 'object' || option === null) return show(option)
  if (Array.isArray(option)) return 'a list'
  if (Object.hasOwn(option, 'url')) return "an object with 'url', which ioredis does not know"
  return `a ${option.constructor.name} without ${PLACES.join(', ')}`
}

/** ioredis is a peer: loaded only where we have to make a client ourselves. */
async function loadRedis(): Promise<Pick<typeof import('ioredis'), 'Redis'>> {
  const { Redis } = await import('ioredis')
  return { Redis }
}

/** A URL, or what was meant to be one, without user and password, for messages and logs. */
export function hidePassword(url: string): string {
  // Up to the last '@': a password that is not encoded may hold any character, and that is why the URL is wrong.
  return url.replace(/^([a-z]+:\/\/)?.*@/is, '$1***@').replace(/(password=)[^&#]*/gi, '$1***')
}
