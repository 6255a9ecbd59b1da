import { checkServices, type ServicesEnv } from './check.ts'
import type { Progress } from './debian.ts'
import { startPostgres } from './postgres.ts'
import { startRedis } from './redis.ts'
import { startS3 } from './s3.ts'
import type { Server } from './server.ts'

export type ServiceName = 'redis' | 's3' | 'postgres'

export interface ServicesOptions {
  /** Default true. */
  redis?: boolean
  /** Default true. */
  s3?: boolean
  /** Default true. */
  postgres?: boolean
  /** Where variables are looked for that name servers which run already. Default `process.env`. */
  env?: NodeJS.ProcessEnv
  /** Called with one line for each step that takes time. */
  onProgress?: Progress
}

export interface Services {
  /** The variables of the services asked for, whether given or started. */
  env: Partial<ServicesEnv>
  /** Ends what was started, and nothing else. May be called twice. */
  stop(): Promise<void>
}

/** Those of the services asked for, all of them by default. */
export type ServicesFor<Options extends ServicesOptions> = Services & {
  env: (Options['redis'] extends false ? unknown : Pick<ServicesEnv, 'REDIS_URL'>) &
    (Options['s3'] extends false ? unknown : Omit<ServicesEnv, 'REDIS_URL' | 'DATABASE_URL'>) &
    (Options['postgres'] extends false ? unknown : Pick<ServicesEnv, 'DATABASE_URL'>)
}

/**
 * For each service: uses the one that the environment names, after asking whether it works, or else starts a real one
 * which is gone when this process goes. All at once.
 * @throws SCALE_DEV_SERVICES_BAD_ENV and what the `start` functions throw; nothing is left running then
 */
export async function startServices<const Options extends ServicesOptions = object>(
  options?: Options & ServicesOptions,
): Promise<ServicesFor<Options>> {
  const { redis = true, s3 = true, postgres = true, env = process.env, onProgress }: ServicesOptions = options ?? {}
  const given: Partial<ServicesEnv> = {}
  if (redis && env.REDIS_URL) given.REDIS_URL = env.REDIS_URL
  if (postgres && env.DATABASE_URL) given.DATABASE_URL = env.DATABASE_URL
  if (s3) {
    for (const name of ['S3_ENDPOINT', 'S3_BUCKET', 'S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'] as const) {
      if (env[name]) given[name] = env[name]
    }
    if (Object.keys(given).some((name) => name.startsWith('S3_'))) given.S3_REGION = env.S3_REGION || 'us-east-1'
  }
  await checkServices(given)

  const started: Server[] = []
  const start = async <T extends Server>(name: string, begin: (onProgress: Progress) => Promise<T>): Promise<T> => {
    const since = performance.now()
    const server = await begin((line) => onProgress?.(`${name}: ${line}`))
    started.push(server)
    onProgress?.(`${name}: ready after ${((performance.now() - since) / 1000).toFixed(1)} s`)
    return server
  }
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.stop()))
  }
  // The slowest first.
  const results = await Promise.allSettled([
    s3 && !given.S3_ENDPOINT
      ? start('S3', (progress) => startS3({ onProgress: progress })).then((server) => {
          given.S3_ENDPOINT = server.endpoint
          given.S3_BUCKET = server.bucket
          given.S3_REGION = server.region
          given.S3_ACCESS_KEY_ID = server.accessKeyId
          given.S3_SECRET_ACCESS_KEY = server.secretAccessKey
        })
      : undefined,
    postgres && !given.DATABASE_URL
      ? start('PostgreSQL', (progress) => startPostgres({ onProgress: progress })).then((server) => {
          given.DATABASE_URL = server.url
        })
      : undefined,
    redis && !given.REDIS_URL
      ? start('Redis', (progress) => startRedis({ onProgress: progress })).then((server) => {
          given.REDIS_URL = server.url
        })
      : undefined,
  ])
  for (const result of results) {
    if (result.status === 'fulfilled') continue
    await stop()
    throw result.reason
  }
  return { env: given, stop } as ServicesFor<Options>
}
