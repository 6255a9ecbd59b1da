import { DevServicesError } from './errors.ts'

const EXAMPLES = {
  redis: ['Redis', 'REDIS_URL', 'REDIS_URL=redis://127.0.0.1:6379'],
  s3: [
    'an S3 server',
    'S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY',
    'S3_ENDPOINT=http://127.0.0.1:9000 S3_BUCKET=dev S3_ACCESS_KEY_ID=dev S3_SECRET_ACCESS_KEY=dev-secret-key',
  ],
  postgres: ['PostgreSQL', 'DATABASE_URL', 'DATABASE_URL=postgres://dev:dev@127.0.0.1:5432/dev'],
} as const

/** The error for a server that can't be had here: which variables to set instead, with a line that works. */
export function unavailable(service: keyof typeof EXAMPLES, why?: string): DevServicesError {
  const [what, variables, line] = EXAMPLES[service]
  return new DevServicesError(
    'SCALE_DEV_SERVICES_UNAVAILABLE',
    `${what} can't be started on this machine (${why ?? "it isn't installed, and there is no apt to fetch it with"}). ` +
      `Run one, for example with \`docker compose up -d\` and the compose.yaml of @fastify-scale/dev-services, and set ${variables}: ${line}`,
  )
}
