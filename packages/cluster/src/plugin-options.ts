import { checkKnown, type Duration, parseDuration, type RedisSource } from '@fastify-scale/kit'
import { ClusterOptionError } from './errors.ts'

export interface ScaleClusterOptions {
  /**
   * Lets `singleton` and `shared` span machines and `status()` cover all launchers of this name: an ioredis client, a
   * URL, ioredis options, or `true` for the `fastify.redis` of @fastify/redis. Default: none, they span the workers of
   * this launcher.
   */
  redis?: RedisSource | true
  /** Machines with the same name share their singletons, shared values and status. Default: the launcher's name, or `app`. */
  name?: string
  /**
   * With `redis`: how long a machine that vanished keeps what runs on it, 300 ms to 5 minutes. What runs is stopped
   * ahead of that when Redis can't be reached. Workers of one launcher do not wait for it. Default `'3s'`.
   */
  lease?: Duration
  /** With `redis`: bound of one command. Default `'500ms'`. */
  commandTimeout?: Duration
  /** Counts requests by route, and watches the event loop and the heap. Default true. */
  metrics?: boolean
  /**
   * Serves `livez`, `readyz` and `metrics` on the app's own port too, below this prefix: `'/internal'`. Whoever reaches
   * the app then reaches them. Default: not; the launcher serves them on its admin address.
   */
  mount?: string
  /** The decorator's name. Default `cluster`. */
  decorator?: string
}

export interface ResolvedOptions {
  redis: RedisSource | true | undefined
  name: string | undefined
  lease: number
  commandTimeout: number
  metrics: boolean
  mount: string | undefined
  decorator: string
}

const KNOWN = ['redis', 'name', 'lease', 'commandTimeout', 'metrics', 'mount', 'decorator']

/** Copies the options and fills in the defaults. @throws SCALE_CLUSTER_OPTION */
export function resolveOptions(options: ScaleClusterOptions): ResolvedOptions {
  const fail = (message: string): Error => new ClusterOptionError(message)
  checkKnown(options, KNOWN, 'scaleCluster', fail)
  const { redis, name, lease = 3_000, commandTimeout = 500, metrics = true, mount, decorator = 'cluster' } = options
  if (name !== undefined && (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)))
    throw fail(`option 'name' must be 1 to 64 letters, digits, '.', '_' or '-', but is '${String(name)}'`)
  if (typeof metrics !== 'boolean') throw fail(`option 'metrics' must be true or false, but is '${String(metrics)}'`)
  if (mount !== undefined && (typeof mount !== 'string' || !/^(\/[^/?#*:]+)*\/?$/.test(mount)))
    throw fail(`option 'mount' must be a path like '/internal', but is '${String(mount)}'`)
  if (typeof decorator !== 'string' || decorator === '')
    throw fail(`option 'decorator' must be a name, but is '${String(decorator)}'`)
  return {
    redis,
    name,
    lease: parseDuration(lease, { name: 'lease', min: 300, max: 300_000, fail }),
    commandTimeout: parseDuration(commandTimeout, { name: 'commandTimeout', min: 10, max: 60_000, fail }),
    metrics,
    mount: mount?.replace(/\/$/, ''),
    decorator,
  }
}
