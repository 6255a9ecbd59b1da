import { parseDuration } from '@fastify-scale/kit'
import { type Static, Type } from '@fastify/type-provider-typebox'
import { isName, nameList } from './names.ts'

/** Every variable that the service reads. Nothing else in the application looks at the environment. */
export const Env = Type.Object({
  DATABASE_URL: Type.String({ description: 'postgres://user:password@host:5432/board' }),
  REDIS_URL: Type.String({ description: 'redis://host:6379' }),
  S3_ENDPOINT: Type.Optional(Type.String({ description: 'http://host:9000, left out for AWS' })),
  S3_REGION: Type.String({ default: 'us-east-1' }),
  S3_BUCKET: Type.String({ description: 'board' }),
  S3_ACCESS_KEY_ID: Type.String({ description: 'the access key' }),
  S3_SECRET_ACCESS_KEY: Type.String({ description: 'the secret key' }),
  /** Where browsers fetch public objects: the bucket itself in development, a CDN in production. */
  PUBLIC_BASE_URL: Type.Optional(Type.String({ description: 'https://cdn.example.com' })),
  /** Where browsers reach the service itself; needed in production, and https there: cookies are not sent over http. */
  PUBLIC_ORIGIN: Type.Optional(Type.String({ description: 'https://board.example.com' })),
  JWT_SECRET: Type.String({
    minLength: 32,
    description: 'at least 32 random characters, for example from: openssl rand -base64 48',
  }),
  /** Who signs up with one of these names, separated by commas, is an admin. In any case: `Anna` and `anna` are one name. */
  ADMIN_NAMES: Type.String({ default: '' }),
  NODE_ENV: Type.String({ default: 'development' }),
  /** Whose word about a client's address is taken: the balancers' addresses, separated by commas. */
  TRUST_PROXY: Type.String({ default: 'loopback' }),
  /** Connections to PostgreSQL of one process; workers x machines x this must stay below the server's limit. */
  PG_POOL_MAX: Type.Integer({ default: 5, minimum: 1, maximum: 100 }),
  /** Attempts to log in as one user per minute, from one address. */
  LOGIN_LIMIT: Type.Integer({ default: 10, minimum: 1 }),
  /** Sign-ups per minute from one address. */
  SIGNUP_LIMIT: Type.Integer({ default: 20, minimum: 1 }),
  /** When objects that no row points to are deleted, and missed thumbnails made: a cron text, in UTC. */
  SWEEP_AT: Type.String({ default: '0 3 * * *' }),
  /** Younger objects are left alone: their upload may not be over. At least a minute. */
  SWEEP_OLDER_THAN: Type.String({ default: '24h' }),
})

export type Env = Static<typeof Env>

const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]']
const EXAMPLES = /change.?me|secret|example|password|12345/i
/** Passwords that servers come with. */
const DEFAULTS = ['postgres', 'password', 'admin', 'root', 'board', 'minioadmin', 'changeme', 'secret']

/**
 * Says in one line which variables are missing or wrong, with an example for each; `undefined` where all is well.
 */
export function describeProblems(environment: Record<string, string | undefined>): string | undefined {
  const problems: string[] = []
  for (const [name, schema] of Object.entries(Env.properties)) {
    const {
      description,
      default: fallback,
      minLength,
    } = schema as { description?: string; default?: unknown; minLength?: number }
    const value = environment[name]
    const optional = fallback !== undefined || !(Env.required as readonly string[]).includes(name)
    if (!value) {
      if (!optional) problems.push(`${name} is missing (${description})`)
    } else if (minLength && value.length < minLength) problems.push(`${name} is too short (${description})`)
  }
  const { S3_ENDPOINT, PUBLIC_BASE_URL, SWEEP_OLDER_THAN, ADMIN_NAMES = '' } = environment
  if (S3_ENDPOINT && !isHttpUrl(S3_ENDPOINT))
    problems.push('S3_ENDPOINT is not a URL (http://host:9000, left out for AWS)')
  if (PUBLIC_BASE_URL && !isHttpUrl(PUBLIC_BASE_URL))
    problems.push('PUBLIC_BASE_URL is not a URL (https://cdn.example.com)')
  if (SWEEP_OLDER_THAN && !isAge(SWEEP_OLDER_THAN))
    problems.push('SWEEP_OLDER_THAN is not a time of at least a minute (24h)')
  for (const name of nameList(ADMIN_NAMES))
    if (!isName(name))
      problems.push(`ADMIN_NAMES has '${name}', which nobody can be called (letters a to z, digits, _ . -)`)
  if (environment['NODE_ENV'] === 'production') problems.push(...productionProblems(environment))
  return problems.length > 0 ? `set these variables: ${problems.join('; ')}` : undefined
}

const isHttpUrl = (text: string): boolean => /^https?:\/\//.test(text) && URL.canParse(text)

/** What the sweep takes: it would say so only in the night. */
function isAge(text: string): boolean {
  try {
    return parseDuration(text, { name: 'SWEEP_OLDER_THAN', min: 60_000 }) > 0
  } catch {
    return false
  }
}

/** What is good enough for development and not for the world. */
function productionProblems(environment: Record<string, string | undefined>): string[] {
  const problems: string[] = []
  const { PUBLIC_ORIGIN, PUBLIC_BASE_URL, JWT_SECRET, DATABASE_URL, S3_SECRET_ACCESS_KEY } = environment
  if (!PUBLIC_ORIGIN) problems.push('PUBLIC_ORIGIN is missing (https://board.example.com)')
  else if (!URL.canParse(PUBLIC_ORIGIN) || new URL(PUBLIC_ORIGIN).origin !== PUBLIC_ORIGIN)
    problems.push('PUBLIC_ORIGIN is not an origin (https://board.example.com)')
  else if (!PUBLIC_ORIGIN.startsWith('https:') && !LOCAL_HOSTS.includes(new URL(PUBLIC_ORIGIN).hostname))
    problems.push(
      `PUBLIC_ORIGIN must be https: browsers do not send the session's cookies over http to ${new URL(PUBLIC_ORIGIN).hostname}`,
    )
  if (!PUBLIC_BASE_URL) problems.push('PUBLIC_BASE_URL is missing (https://cdn.example.com)')
  if (JWT_SECRET && (EXAMPLES.test(JWT_SECRET) || new Set(JWT_SECRET).size < 12))
    problems.push('JWT_SECRET looks like an example (make one with: openssl rand -base64 48)')
  if (S3_SECRET_ACCESS_KEY && DEFAULTS.includes(S3_SECRET_ACCESS_KEY.toLowerCase()))
    problems.push('S3_SECRET_ACCESS_KEY is a default that everybody knows (make a key for this service)')
  if (DATABASE_URL && URL.canParse(DATABASE_URL) && DEFAULTS.includes(new URL(DATABASE_URL).password.toLowerCase()))
    problems.push('DATABASE_URL has a default password that everybody knows (make a user for this service)')
  return problems
}
