import { setMaxListeners } from 'node:events'
import { addDrainStep, addReadinessCheck, openConnections, refuseTaken, withDeadline } from '@fastify-scale/kit'
import { type Job, Queue, QueueEvents } from 'bullmq'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { LONGEST_SHIFT, type Schedule, type Ticker, startTicker } from './cron.ts'
import { type Definition, createDefinitions } from './definitions.ts'
import { evictionPolicy } from './eviction.ts'
import { firstSeen } from './first-seen.ts'
import { firstSeenKey, idOfTick } from './ids.ts'
import { createJobs } from './jobs.ts'
import { type ScaleJobsOptions, fail, resolveOptions } from './options.ts'
import { addJob } from './producer.ts'
import { createReader } from './reader.ts'
import { resolveRole } from './role.ts'
import { createRunner } from './runner.ts'
import { createSandboxes } from './sandbox.ts'
import type { JobsApi, Priority } from './types.ts'
import { createWorkers } from './workers.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Of @fastify-scale/jobs. */
    jobs: JobsApi
  }
}

const PACKAGE = '@fastify-scale/jobs'

/** How long the queue remembers that a tick was made, in ms: longer than any process may still try to make it. */
const TICK_MEMORY = 600_000

/** Where BullMQ counts in a job's hash how often it was started. */
const STARTS = 'ats'

const plugin: FastifyPluginAsync<ScaleJobsOptions> = async (fastify, userOptions) => {
  const options = resolveOptions(userOptions)
  refuseTaken(fastify, options.decorator, 'decorator', fail)
  const role = resolveRole(options.role, process.env)
  const log = fastify.log
  const connections = await openConnections({
    packageName: PACKAGE,
    redis: options.redis,
    host: fastify as object,
    log,
    fail,
  })
  // One slot for all queues, so that the keys of one script are together on a Redis Cluster.
  const prefix = `{${connections.keyPrefix}${options.prefix}}`
  const client = await connections.command({ timeout: options.timeout })
  const queues = new Map<string, Queue>()
  const events = new Map<string, QueueEvents>()
  const closing = new AbortController()
  setMaxListeners(0, closing.signal)

  function queueOf(name: string): Queue | undefined {
    if (!Object.hasOwn(options.queues, name)) return undefined
    let queue = queues.get(name)
    if (!queue) {
      queue = new Queue(name, {
        connection: client,
        prefix,
        // Would ask Redis once, and stay broken where it did not answer.
        skipVersionCheck: true,
        ...(options.telemetry && { telemetry: options.telemetry }),
      })
      queue.on('error', (error) => log.debug({ err: error, queue: name }, 'jobs: a queue met an error'))
      queues.set(name, queue)
    }
    return queue
  }

  function eventsOf(name: string): QueueEvents {
    let one = events.get(name)
    if (!one) {
      one = new QueueEvents(name, { connection: connections.patient({ name: `events:${name}` }), prefix })
      one.on('error', (error) => log.debug({ err: error, queue: name }, 'jobs: events of a queue met an error'))
      // One for each who waits.
      one.setMaxListeners(0)
      events.set(name, one)
    }
    return one
  }

  const keyOfJob = ({ queueName, id }: Job): string => (queueOf(queueName) as Queue).toKey(id as string)
  const definitions = createDefinitions(Object.keys(options.queues))
  const sandboxes = createSandboxes()
  const workers = createWorkers({
    connections,
    options,
    prefix,
    log,
    run: createRunner({
      definitions,
      sandboxes,
      log,
      uncountStart: async (job) => client.hincrby(keyOfJob(job), STARTS, -1),
    }),
  })
  const producer = {
    client,
    queueOf: (name: string) => queueOf(name) as Queue,
    timeout: options.timeout,
    maxSize: options.maxSize,
  }
  const crons: [Definition, Schedule, Priority][] = []
  const tickers: Ticker[] = []

  fastify.decorate(
    options.decorator as 'jobs',
    createJobs({
      role,
      definitions,
      producer,
      reader: createReader({ client, queueOf, eventsOf, timeout: options.timeout, closing: closing.signal }),
      idempotency: options.idempotency,
      queues: () => Object.keys(options.queues).map((name) => queueOf(name) as Queue),
      onCron: (...cron) => crons.push(cron),
    }),
  )

  function startCron([definition, schedule, priority]: (typeof crons)[number]): Ticker {
    const { name } = definition
    return startTicker({
      schedule,
      since: (start) => firstSeen(client, firstSeenKey(prefix, name, schedule.text), start),
      async fire(tick) {
        await addJob(producer, definition, {
          jobId: idOfTick(name, schedule.identity(tick)),
          data: { tick: new Date(tick).toISOString() },
          priority,
          delay: 0,
          remember: schedule.named ? TICK_MEMORY + LONGEST_SHIFT : TICK_MEMORY,
        })
      },
      onError: (error, tick) =>
        log.error({ err: error, name, tick: new Date(tick).toISOString() }, 'a tick of a cron job could not be made'),
    })
  }

  addReadinessCheck(fastify, { name: `${options.decorator}: redis`, check: async () => void (await client.ping()) })

  fastify.addHook('onReady', async function scaleJobsStart() {
    definitions.seal()
    evictionPolicy(client).then(
      (policy) => {
        if (policy)
          log.warn(
            { policy },
            "jobs: Redis throws keys away when its memory is full, jobs too; set 'maxmemory-policy noeviction'",
          )
      },
      () => undefined,
    )
    if (role === 'web') return log.info('jobs: this process adds jobs and runs none (role web)')
    workers.start(definitions.queues())
    tickers.push(...crons.map(startCron))
  })

  addDrainStep(fastify, {
    name: `${options.decorator}: workers`,
    async run(context) {
      await Promise.all(tickers.map((ticker) => ticker.stop()))
      await workers.drain(context)
    },
  })

  fastify.addHook('onClose', async function scaleJobsClose() {
    closing.abort()
    await Promise.all(tickers.map((ticker) => ticker.stop()))
    await workers.close()
    await sandboxes.close()
    const ends = [...events.values(), ...queues.values()].map((one) => one.close())
    await withDeadline(Promise.allSettled(ends), 1_000, 'closing queues').catch(() => undefined)
    await connections.close()
  })
}

/** Queues, priorities and once-only cron on BullMQ. See `ScaleJobsOptions`. */
export const scaleJobs: FastifyPluginAsync<ScaleJobsOptions> = fp(plugin, { name: PACKAGE, fastify: '5.x' })
