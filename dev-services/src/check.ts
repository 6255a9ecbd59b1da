import pg from 'pg'
import { DevServicesError } from './errors.ts'
import { redisRequest } from './redis-protocol.ts'
import { s3Request } from './s3-request.ts'

/** The variables that say where the services are. */
export interface ServicesEnv {
  /** `redis://[user:password@]host:port`, or `rediss://` over TLS. */
  REDIS_URL: string
  S3_ENDPOINT: string
  S3_BUCKET: string
  S3_REGION: string
  S3_ACCESS_KEY_ID: string
  S3_SECRET_ACCESS_KEY: string
  /** `postgres://user:password@host:port/database` */
  DATABASE_URL: string
}

export interface CheckOptions {
  /** ms for each service. Default 5 000. */
  timeout?: number
}

/**
 * Asks every service that `env` names something that needs the right credentials. Variables that are not set are not
 * looked at.
 * @throws SCALE_DEV_SERVICES_BAD_ENV whose message is one line for each thing wrong, naming the variable
 */
export async function checkServices(
  env: Partial<ServicesEnv> | NodeJS.ProcessEnv,
  options: CheckOptions = {},
): Promise<void> {
  const { timeout = 5_000 } = options
  const problems = await Promise.all([
    env.REDIS_URL ? redisProblem(env.REDIS_URL, timeout) : undefined,
    s3Problem(env, timeout),
    env.DATABASE_URL ? postgresProblem(env.DATABASE_URL, timeout) : undefined,
  ])
  const lines = problems.filter((problem) => problem !== undefined).map(withoutPasswords)
  if (lines.length > 0) throw new DevServicesError('SCALE_DEV_SERVICES_BAD_ENV', lines.join('\n'))
}

async function redisProblem(value: string, timeout: number): Promise<string | undefined> {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url?.hostname || !/^rediss?:$/.test(url.protocol)) {
    return `REDIS_URL must look like redis://127.0.0.1:6379, and is ${quoted(value)}`
  }
  try {
    const target = {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port || 6379),
      username: decodeURIComponent(url.username) || undefined,
      password: decodeURIComponent(url.password) || undefined,
      tls: url.protocol === 'rediss:',
    }
    await redisRequest(target, ['PING'], timeout)
    return undefined
  } catch (error) {
    return `REDIS_URL ${quoted(value)} does not work: ${reasonOf(error)}`
  }
}

async function s3Problem(env: Partial<ServicesEnv>, timeout: number): Promise<string | undefined> {
  const { S3_ENDPOINT, S3_BUCKET, S3_REGION = 'us-east-1', S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY } = env
  const needed = { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY }
  const missing = Object.entries(needed).filter(([, value]) => !value)
  if (missing.length === 4) return undefined
  const names = missing.map(([name]) => name).join(', ')
  if (!S3_ENDPOINT || !S3_BUCKET || !S3_ACCESS_KEY_ID || !S3_SECRET_ACCESS_KEY) {
    return `${names} must be set too, since another S3_ variable is: S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY belong together`
  }
  if (!URL.canParse(S3_ENDPOINT) || !/^https?:$/.test(new URL(S3_ENDPOINT).protocol)) {
    return `S3_ENDPOINT must look like http://127.0.0.1:9000, and is ${quoted(S3_ENDPOINT)}`
  }
  const target = {
    endpoint: S3_ENDPOINT,
    region: S3_REGION,
    accessKeyId: S3_ACCESS_KEY_ID,
    secretAccessKey: S3_SECRET_ACCESS_KEY,
  }
  try {
    const { status } = await s3Request(target, 'HEAD', `/${S3_BUCKET}`, timeout)
    if (status === 200) return undefined
    if (status === 404) return `S3_BUCKET ${quoted(S3_BUCKET)} is not there on ${quoted(S3_ENDPOINT)}`
    if (status === 403) {
      return `S3_ACCESS_KEY_ID ${quoted(S3_ACCESS_KEY_ID)} with its S3_SECRET_ACCESS_KEY may not use the bucket ${quoted(S3_BUCKET)} on ${quoted(S3_ENDPOINT)}`
    }
    return `S3_ENDPOINT ${quoted(S3_ENDPOINT)} answers with status ${status} (is S3_REGION ${quoted(S3_REGION)} right?)`
  } catch (error) {
    return `S3_ENDPOINT ${quoted(S3_ENDPOINT)} does not work: ${reasonOf(error)}`
  }
}

async function postgresProblem(value: string, timeout: number): Promise<string | undefined> {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) {
    return `DATABASE_URL must look like postgres://user:password@127.0.0.1:5432/database, and is ${quoted(value)}`
  }
  let client: pg.Client | undefined
  try {
    // Reads the files that the URL names, too.
    client = new pg.Client({ connectionString: value, connectionTimeoutMillis: timeout, query_timeout: timeout })
    client.on('error', () => {})
    await client.connect()
    await client.query('select 1')
    return undefined
  } catch (error) {
    return `DATABASE_URL ${quoted(value)} does not work: ${reasonOf(error)}`
  } finally {
    // After a timeout there may be nobody who answers the farewell.
    void client?.end().catch(() => {})
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof URIError) return 'a % in a user or password is written as %25'
  const { message, code } = error as Error & { code?: string }
  return message || String(code)
}

/** A URL is shown without its password, which may have an @ in it. */
function quoted(value: string): string {
  return `"${value.replace(/^((?:[\w+.-]+:\/\/)?[^:@]*:).*@/s, '$1***@')}"`
}

/** The same for URLs in what others say, and for passwords that stand alone. */
function withoutPasswords(line: string): string {
  return line.replaceAll(/(:\/\/[^\s":@]*:)[^\s"]*@/g, '$1***@').replaceAll(/(password=)[^\s"&]*/gi, '$1***')
}
