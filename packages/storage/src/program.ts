import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type CliCommand, CliError, type CliProgram } from '@fastify-scale/kit'
import { publish } from './assets/publish.ts'
import { createClients } from './client.ts'
import { applyCors } from './cors.ts'
import { LIFECYCLE_RULES, applyLifecycle } from './lifecycle.ts'
import { applyPublicRead } from './policy.ts'
import { checkBucket } from './readiness.ts'
import { S3Error, createS3Call } from './s3-call.ts'
import type { UploadDeps } from './upload.ts'

type Values = Parameters<CliCommand['run']>[0]['values']
type Bucket = Pick<UploadDeps, 's3' | 'call' | 'bucket' | 'acl'>

const BUCKET_OPTIONS: CliCommand['options'] = {
  bucket: { type: 'string' },
  endpoint: { type: 'string' },
  region: { type: 'string' },
}
const BUCKET_HELP = {
  bucket: 'name of the bucket (S3_BUCKET)',
  endpoint: 'URL of an S3 server other than AWS (S3_ENDPOINT)',
  region: "default 'us-east-1' (S3_REGION, AWS_REGION)",
}

/**
 * The command line `fastify-scale-storage`. Credentials come from S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or from what the
 * AWS SDK reads.
 *
 * @param print takes lines for standard output
 */
export function storageProgram(env: NodeJS.ProcessEnv, print: (line: string) => void): CliProgram {
  return {
    name: 'fastify-scale-storage',
    summary: 'set up a bucket, and publish static assets to it',
    version: (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
      .version,
    commands: {
      check: {
        summary: 'see whether the bucket can be used',
        usage: 'check',
        options: BUCKET_OPTIONS,
        help: BUCKET_HELP,
        run: ({ values }) => withBucket(env, values, async ({ bucket }) => print(`bucket '${bucket}' can be used`)),
      },
      lifecycle: {
        summary: 'have the bucket abort forgotten parts and empty pending/, after a day',
        usage: 'lifecycle',
        options: BUCKET_OPTIONS,
        help: BUCKET_HELP,
        run: ({ values }) =>
          withBucket(env, values, async ({ s3, call, bucket }) => {
            const rules = await applyLifecycle(s3, call, bucket)
            const missing = LIFECYCLE_RULES.filter(({ ID = '' }) => !rules.includes(ID)).map(({ ID }) => ID)
            if (missing.length > 0)
              throw new CliError(`bucket '${bucket}' took the lifecycle rules and has not kept ${missing.join(', ')}`)
            print(`bucket '${bucket}' has the lifecycle rules ${rules.join(', ')}`)
          }),
      },
      cors: {
        summary: 'let web pages of these origins send direct uploads',
        usage: 'cors <origin>...',
        options: BUCKET_OPTIONS,
        help: BUCKET_HELP,
        run: ({ values, positionals }) => {
          if (positionals.length === 0 || !positionals.every(isOrigin))
            throw new CliError("name the origins, for example 'cors https://app.example.com'", 2)
          return withBucket(env, values, async ({ s3, call, bucket }) => {
            await applyCors(s3, call, bucket, positionals)
            print(`bucket '${bucket}' takes direct uploads from ${positionals.join(', ')}`)
          })
        },
      },
      'public-read': {
        summary: 'open the bucket for reading, except private/ and pending/',
        usage: 'public-read',
        options: BUCKET_OPTIONS,
        help: BUCKET_HELP,
        run: ({ values }) =>
          withBucket(env, values, async ({ s3, call, bucket }) => {
            await applyPublicRead(s3, call, bucket)
            print(`everybody can read bucket '${bucket}', except private/ and pending/`)
          }),
      },
      publish: {
        summary: 'send static files under hashed names, and then the manifest',
        usage: 'publish <directory>',
        options: {
          ...BUCKET_OPTIONS,
          prefix: { type: 'string' },
          release: { type: 'string' },
          'keep-names': { type: 'boolean' },
          acl: { type: 'boolean' },
        },
        help: {
          ...BUCKET_HELP,
          prefix: "first part of the keys, default 'assets'",
          release: 'also write the manifest of this release',
          'keep-names': 'for names that a bundler has put hashes in',
          acl: 'make each object public by its ACL',
        },
        run: ({ values, positionals }) => {
          const [dir] = positionals
          if (dir === undefined || positionals.length > 1)
            throw new CliError("name one directory, for example 'publish dist/client'", 2)
          return withBucket(env, values, async (bucket) => {
            const { manifest, uploaded, unchanged } = await publish(bucket, resolve(dir), {
              prefix: textOf(values, 'prefix'),
              release: textOf(values, 'release'),
              keepNames: values['keep-names'] === true,
              onFile: (name, key) => print(`${name} -> ${key}`),
            })
            const files = Object.keys(manifest.assets).length
            print(`published ${files} files: ${uploaded} objects sent, ${unchanged} were there`)
          })
        },
      },
    },
  }
}

async function withBucket(
  env: NodeJS.ProcessEnv,
  values: Values,
  work: (bucket: Bucket) => Promise<void>,
): Promise<void> {
  const bucket = textOf(values, 'bucket') ?? env['S3_BUCKET']
  if (!bucket) throw new CliError("name the bucket: '--bucket photos', or S3_BUCKET=photos", 2)
  const endpoint = textOf(values, 'endpoint') ?? (env['S3_ENDPOINT'] || undefined)
  if (endpoint !== undefined && !/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : ''))
    throw new CliError("the endpoint must be a URL, for example '--endpoint https://s3.example.com'", 2)
  const region = textOf(values, 'region') ?? env['S3_REGION'] ?? env['AWS_REGION'] ?? 'us-east-1'
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = env
  const clients = createClients({
    region,
    endpoint,
    credentials: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined,
    forcePathStyle: endpoint !== undefined,
    connectionTimeout: 3_000,
    requestTimeout: 60_000,
    maxAttempts: 3,
    maxSockets: 50,
  })
  const { s3 } = clients
  const call = createS3Call(200_000)
  try {
    await checkBucket(s3, call, bucket, endpoint ?? `AWS ${region}`)
    await work({ s3, call, bucket, acl: values['acl'] === true })
  } catch (error) {
    if (error instanceof S3Error) throw new CliError(`bucket '${bucket}': S3 refused it (${error.failure.reason})`)
    throw error
  } finally {
    clients.destroy()
  }
}

function textOf(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

function isOrigin(text: string): boolean {
  return text === '*' || (URL.canParse(text) && new URL(text).origin === text)
}
