import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type RedisServer, type S3Server, freePort, startRedis, startS3 } from '@fastify-scale/dev-services'

export type Label = 'old' | 'new'

/** What a process is made of. */
export interface Make {
  /** The folder that has `packages/`. */
  root: string
  /** The Node.js that runs it. Default: this one. */
  node?: string
}

export interface Running {
  url: string
  port: number
  child: ChildProcess
}

export interface Tokens {
  accessToken: string
  refreshToken: string
}

export interface Answer<T> {
  status: number
  headers: Headers
  body: T
}

/** Two processes of one service, side by side on one Redis and one bucket. */
export interface Pair {
  readonly redis: RedisServer
  readonly processes: Record<Label, Running>
  open(makes: Record<Label, Make>): Promise<void>
  /** Starts a further process like one of the two. */
  start(label: Label, port?: number): Promise<Running>
  stop(process: Running, signal?: NodeJS.Signals): Promise<void>
  /** A request to one of the two: POST with `json`, GET without. */
  ask<T>(label: Label, path: string, json?: unknown, init?: RequestInit): Promise<Answer<T>>
  close(): Promise<void>
}

export function createPair(): Pair {
  const secret = randomBytes(48).toString('base64')
  const processes = {} as Record<Label, Running>
  let redis: RedisServer
  let s3: S3Server
  let makes: Record<Label, Make>

  const pair: Pair = {
    get redis() {
      return redis
    },
    processes,
    async open(given) {
      makes = given
      ;[redis, s3] = await Promise.all([startRedis({ args: ['--maxmemory-policy', 'noeviction'] }), startS3()])
      processes.old = await pair.start('old')
      processes.new = await pair.start('new')
    },
    async start(label, port) {
      const { root, node } = makes[label]
      const options = {
        root,
        label,
        port: port ?? (await freePort()),
        redis: redis.url,
        secret,
        s3: {
          bucket: s3.bucket,
          region: s3.region,
          endpoint: s3.endpoint,
          publicBaseUrl: `${s3.endpoint}/${s3.bucket}`,
          credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
        },
      }
      const child = fork(fileURLToPath(new URL('service.mjs', import.meta.url)), [JSON.stringify(options)], {
        execArgv: [],
        ...(node === undefined ? {} : { execPath: node }),
      })
      const [first] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown]
      if (first !== 'ready') throw new Error(`the process '${label}' ended with ${String(first)}`)
      return { url: `http://127.0.0.1:${options.port}`, port: options.port, child }
    },
    async stop({ child }, signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill(signal)
      await gone
    },
    async ask<T>(label: Label, path: string, json?: unknown, init: RequestInit = {}): Promise<Answer<T>> {
      const response = await fetch(`${processes[label].url}${path}`, {
        ...(json === undefined
          ? {}
          : { method: 'POST', body: JSON.stringify(json), headers: { 'content-type': 'application/json' } }),
        ...init,
      })
      return { status: response.status, headers: response.headers, body: (await response.json()) as T }
    },
    async close() {
      await Promise.all(Object.values(processes).map((one) => pair.stop(one, 'SIGKILL')))
      await Promise.all([redis?.stop(), s3?.stop()])
    },
  }
  return pair
}
