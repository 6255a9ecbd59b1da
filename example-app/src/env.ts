import { type Static, Type } from '@fastify/type-provider-typebox'

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
  JWT_SECRET: Type.String({
    minLength: 32,
    description: 'at least 32 random characters, for example from: openssl rand -base64 48',
  }),
  NODE_ENV: Type.String({ default: 'development' }),
  /** Connections to PostgreSQL of one process; workers x machines x this must stay below the server's limit. */
  PG_POOL_MAX: Type.Integer({ default: 5, minimum: 1, maximum: 100 }),
})

export type Env = Static<typeof Env>

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
    const optional = fallback !== undefined || !Env.required?.includes(name as never)
    if (!value) {
      if (!optional) problems.push(`${name} is missing (${description})`)
    } else if (minLength && value.length < minLength) problems.push(`${name} is too short (${description})`)
  }
  return problems.length > 0 ? `set these variables: ${problems.join('; ')}` : undefined
}
