import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { checkKnown, parseDuration, parseInteger, parseSize, show } from '@fastify-scale/kit'
import type { Queue } from 'bullmq'
import type { Schedule } from './cron.ts'
import { parseCron } from './cron.ts'
import { type Definition, type Definitions, checkName, createCheck } from './definitions.ts'
import { OptionError } from './errors.ts'
import { idOfKey, queueOf } from './ids.ts'
import { fail, resolveJob } from './options.ts'
import { PRIORITIES, type ProducerOptions, addJob } from './producer.ts'
import type { Reader } from './reader.ts'
import type {
  AddOptions,
  CronOptions,
  CronTick,
  JobHandle,
  JobHandler,
  JobOptions,
  JobsApi,
  Priority,
  Role,
  SandboxOptions,
} from './types.ts'

export interface JobsParts {
  role: Role
  definitions: Definitions
  producer: ProducerOptions
  reader: Reader
  /** How long an idempotency key is remembered, in ms. */
  idempotency: number
  queues: () => Queue[]
  onCron: (definition: Definition, schedule: Schedule, priority: Priority) => void
}

type AnyHandler = JobHandler<never, unknown>

/** Puts the parts together into what users see. */
export function createJobs(parts: JobsParts): JobsApi {
  const { definitions, producer, reader } = parts

  function define(
    name: string,
    first: JobOptions | SandboxOptions | AnyHandler,
    second?: AnyHandler,
  ): JobHandle<never> {
    const options = typeof first === 'function' ? {} : first
    const handler = typeof first === 'function' ? first : second
    const definition = toDefinition(name, options, handler)
    definitions.add(definition)
    return {
      name,
      add: (data: unknown, addOptions: AddOptions = {}) => addJob(producer, definition, newJob(name, data, addOptions)),
    }
  }

  function newJob(name: string, data: unknown, options: AddOptions) {
    checkKnown(options, ['priority', 'delay', 'idempotencyKey'], `adding job '${name}'`, fail)
    const { priority = 'normal', delay = 0, idempotencyKey: key } = options
    if (!Object.hasOwn(PRIORITIES, priority))
      throw fail(`option 'priority' of job '${name}' must be 'high', 'normal' or 'low', but is ${show(priority)}`)
    if (key !== undefined && (typeof key !== 'string' || key === ''))
      throw fail(`option 'idempotencyKey' of job '${name}' must be text, but is ${show(key)}`)
    return {
      data,
      priority,
      delay: parseDuration(delay, { name: `delay of job '${name}'`, min: 0, fail }),
      ...(key === undefined
        ? { jobId: randomUUID() }
        : { jobId: idOfKey(name, key), key, remember: parts.idempotency }),
    }
  }

  return {
    role: parts.role,
    define: define as JobsApi['define'],
    cron(
      name: string,
      pattern: string,
      first: CronOptions | JobHandler<CronTick, unknown>,
      second?: JobHandler<CronTick, unknown>,
    ) {
      const { timezone, priority = 'normal', ...options } = typeof first === 'function' ? ({} as CronOptions) : first
      const handler = typeof first === 'function' ? first : second
      if (!Object.hasOwn(PRIORITIES, priority))
        throw fail(
          `option 'priority' of cron job '${name}' must be 'high', 'normal' or 'low', but is ${show(priority)}`,
        )
      const schedule = parseCron(checkName(name), pattern, timezone)
      const definition = toDefinition(name, options, handler as AnyHandler | undefined)
      definitions.add(definition)
      parts.onCron(definition, schedule, priority)
    },
    status: (id) => reader.status(id),
    async waitUntilFinished(id, { timeout = '30s' } = {}) {
      return reader.waitUntilFinished(id, parseDuration(timeout, { name: 'timeout', fail }))
    },
    async deadLetters(queue, { limit = 100 } = {}) {
      return reader.deadLetters(queue, parseInteger(limit, { name: 'limit', max: 10_000, fail }))
    },
    retry: (id) => reader.retry(id),
    async counts(queue) {
      return reader.counts(queue)
    },
    queues: parts.queues,
  }
}

/** @throws SCALE_JOBS_OPTION */
function toDefinition(
  given: string,
  options: JobOptions | SandboxOptions,
  handler: AnyHandler | undefined,
): Definition {
  const name = checkName(given)
  const resolved = resolveJob(name, options, handler ? [] : ['sandbox', 'memory'])
  const { sandbox, memory } = options as Partial<SandboxOptions>
  if (handler === undefined && sandbox === undefined)
    throw new OptionError(`job '${name}' needs a handler function, or the option 'sandbox'`)
  if (handler !== undefined && typeof handler !== 'function')
    throw new OptionError(`the handler of job '${name}' must be a function, but is ${show(handler)}`)
  return {
    ...resolved,
    name,
    queue: queueOf(name),
    check: createCheck(name, options.schema),
    handler: handler as JobHandler<unknown, unknown> | undefined,
    sandbox:
      sandbox === undefined
        ? undefined
        : {
            file: toPath(name, sandbox),
            // Node.js counts in MB, and needs some to begin with.
            memory:
              memory === undefined
                ? undefined
                : parseSize(memory, { name: `memory of job '${name}'`, min: 16 * 1_048_576, fail }),
          },
  }
}

function toPath(name: string, sandbox: URL | string): string {
  try {
    return sandbox instanceof URL || sandbox.startsWith('file:') ? fileURLToPath(sandbox) : sandbox
  } catch {
    throw new OptionError(`option 'sandbox' of job '${name}' must be a path or a file URL, but is ${show(sandbox)}`)
  }
}
