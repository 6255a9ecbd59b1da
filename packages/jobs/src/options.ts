import {
  type Duration,
  type RedisSource,
  type Size,
  checkKnown,
  parseDuration,
  parseInteger,
  parseSize,
  show,
} from '@fastify-scale/kit'
import type { Telemetry } from 'bullmq'
import { OptionError } from './errors.ts'
import { isRole } from './role.ts'
import type { Backoff, JobOptions, Role } from './types.ts'

export interface QueueOptions {
  /** How many jobs of this queue one process runs at once. Default 1. */
  concurrency?: number
  /** At most `max` jobs within `duration`, in the whole cluster. Default: no limit. */
  limiter?: { max: number; duration: Duration }
}

export interface KeepOptions {
  /** Default `'1d'` for results, `'30d'` for dead letters. */
  age?: Duration
  /** Default 1,000 for results, 10,000 for dead letters, of each queue. */
  count?: number
}

export interface ScaleJobsOptions {
  /** Where Redis is: a URL, ioredis options or an ioredis client. Default: `fastify.redis` of @fastify/redis. */
  redis?: RedisSource
  /** What the keys in Redis begin with. Default `'jobs'`. */
  prefix?: string
  /** The name of the decorator: `fastify.jobs`. Default `'jobs'`. */
  decorator?: string
  /** The queues by name. `default` is always there. */
  queues?: Record<string, QueueOptions>
  /** What this process does. Default: what the launcher says, else `'all'`. */
  role?: Role
  /** How long adding a job, or asking for one, may take. Default `'2s'`. */
  timeout?: Duration
  /** How long an idempotency key is remembered, at least. Default `'1d'`. */
  idempotency?: Duration
  /** The largest data of a job, as JSON, in bytes or as `'256KB'`. Default `'256KB'`. */
  maxSize?: Size
  /** How long a process that is gone keeps its jobs: another takes them after this time. Default `'30s'`. */
  lock?: Duration
  /** How often a job may lose its process before it is a dead letter. Default 5. */
  maxCrashes?: number
  /** How many finished jobs are kept, and for how long. */
  keep?: { completed?: KeepOptions; failed?: KeepOptions }
  /** BullMQ's telemetry interface (`bullmq-otel`): traces go on from where a job was added to where it runs. */
  telemetry?: Telemetry
}

export interface ResolvedQueue {
  readonly concurrency: number
  readonly limiter: { max: number; duration: number } | undefined
}

export interface ResolvedOptions {
  readonly redis: RedisSource | undefined
  readonly prefix: string
  readonly decorator: string
  readonly queues: Readonly<Record<string, ResolvedQueue>>
  readonly role: Role | undefined
  readonly timeout: number
  readonly idempotency: number
  readonly maxSize: number
  readonly lock: number
  readonly maxCrashes: number
  /** Ages in seconds, as BullMQ has them. */
  readonly keep: { completed: { age: number; count: number }; failed: { age: number; count: number } }
  readonly telemetry: Telemetry | undefined
}

/** Options of one kind of job, complete and checked. Times in ms; a timeout of 0 is none. */
export interface ResolvedJob {
  readonly attempts: number
  readonly backoff: { type: 'fixed' | 'exponential'; delay: number; jitter: number }
  readonly timeout: number
}

const OPTIONS = [
  'redis',
  'prefix',
  'decorator',
  'queues',
  'role',
  'timeout',
  'idempotency',
  'maxSize',
  'lock',
  'maxCrashes',
  'keep',
  'telemetry',
]

export const fail = (message: string): Error => new OptionError(message)

/** @throws SCALE_JOBS_OPTION */
export function resolveOptions(options: ScaleJobsOptions): ResolvedOptions {
  checkKnown(options, OPTIONS, '@fastify-scale/jobs', fail)
  const { redis, prefix = 'jobs', decorator = 'jobs', role, queues = {}, keep = {}, telemetry } = options
  if (typeof prefix !== 'string' || !/^[^{}\s]+$/.test(prefix))
    throw fail(`option 'prefix' must be text without braces and spaces, but is ${show(prefix)}`)
  if (typeof decorator !== 'string' || decorator === '')
    throw fail("option 'decorator' must be the name of a decorator")
  if (role !== undefined && !isRole(role))
    throw fail(`option 'role' must be 'web', 'jobs' or 'all', but is ${show(role)}`)
  if (typeof queues !== 'object' || queues === null)
    throw fail(`option 'queues' must be an object of queues by name, but is ${show(queues)}`)
  const resolved: Record<string, ResolvedQueue> = { default: resolveQueue('default', {}) }
  for (const [queue, value] of Object.entries(queues)) resolved[queue] = resolveQueue(queue, value)
  return {
    redis,
    prefix,
    decorator,
    queues: resolved,
    role,
    telemetry,
    timeout: parseDuration(options.timeout ?? '2s', { name: 'timeout', min: 50, max: 60_000, fail }),
    idempotency: parseDuration(options.idempotency ?? '1d', { name: 'idempotency', min: 1_000, fail }),
    maxSize: parseSize(options.maxSize ?? '256KB', { name: 'maxSize', fail }),
    lock: parseDuration(options.lock ?? '30s', { name: 'lock', min: 1_000, fail }),
    maxCrashes: parseInteger(options.maxCrashes ?? 5, { name: 'maxCrashes', min: 0, max: 1_000, fail }),
    keep: {
      completed: resolveKeep(keep.completed, 'keep.completed', '1d', 1_000),
      failed: resolveKeep(keep.failed, 'keep.failed', '30d', 10_000),
    },
  }
}

const JOB_OPTIONS = ['schema', 'attempts', 'backoff', 'timeout']

/** @throws SCALE_JOBS_OPTION */
export function resolveJob(name: string, options: JobOptions, more: readonly string[]): ResolvedJob {
  if (typeof options !== 'object' || options === null) throw fail(`the options of job '${name}' must be an object`)
  checkKnown(options, [...JOB_OPTIONS, ...more], `job '${name}'`, fail)
  const { backoff = '1s', timeout = '5m' } = options
  const given: Backoff = typeof backoff === 'object' ? backoff : { delay: backoff }
  checkKnown(given, ['type', 'delay', 'jitter'], `'backoff' of job '${name}'`, fail)
  const { type = 'exponential', jitter = 0.5 } = given
  if (type !== 'fixed' && type !== 'exponential')
    throw fail(`option 'backoff.type' of job '${name}' must be 'fixed' or 'exponential', but is ${show(type)}`)
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 1))
    throw fail(`option 'backoff.jitter' of job '${name}' must be from 0 to 1, but is ${show(jitter)}`)
  return {
    attempts: parseInteger(options.attempts ?? 3, { name: `attempts of job '${name}'`, max: 1_000, fail }),
    backoff: { type, jitter, delay: parseDuration(given.delay, { name: `backoff of job '${name}'`, min: 0, fail }) },
    timeout:
      timeout === false ? 0 : parseDuration(timeout, { name: `timeout of job '${name}'`, max: 2 ** 31 - 1, fail }),
  }
}

function resolveQueue(name: string, options: QueueOptions): ResolvedQueue {
  if (!/^[\w-]+$/.test(name)) throw fail(`queue '${name}' must have a name of letters, digits, '-' and '_'`)
  if (typeof options !== 'object' || options === null) throw fail(`queue '${name}' must be an object of options`)
  checkKnown(options, ['concurrency', 'limiter'], `queue '${name}'`, fail)
  const { concurrency = 1, limiter } = options
  const where = `queues.${name}`
  return {
    concurrency: parseInteger(concurrency, { name: `${where}.concurrency`, max: 10_000, fail }),
    limiter: limiter && {
      max: parseInteger(limiter.max, { name: `${where}.limiter.max`, fail }),
      duration: parseDuration(limiter.duration, { name: `${where}.limiter.duration`, fail }),
    },
  }
}

function resolveKeep(
  keep: KeepOptions | undefined,
  name: string,
  age: string,
  count: number,
): { age: number; count: number } {
  checkKnown(keep ?? {}, ['age', 'count'], `'${name}'`, fail)
  return {
    age: Math.ceil(parseDuration(keep?.age ?? age, { name: `${name}.age`, min: 1_000, fail }) / 1_000),
    count: parseInteger(keep?.count ?? count, { name: `${name}.count`, min: 1, fail }),
  }
}
