import { type RedisClient, openConnections } from '@fastify-scale/kit'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { toPublicId } from './ids.ts'
import { fail } from './options.ts'
import { type Reader, createReader } from './reader.ts'

/** The queues seen from outside a service. */
export interface Tool {
  reader: Reader
  /** The names of all queues that were ever used. */
  queues(): Promise<string[]>
  /** The ids of all dead letters of a queue, the oldest first. */
  deadLetterIds(queue: string): Promise<string[]>
  close(): Promise<void>
}

const TIMEOUT = 5_000
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }

/** @throws SCALE_JOBS_OPTION */
export async function openTool({ redis, prefix }: { redis: string; prefix: string }): Promise<Tool> {
  const connections = await openConnections({
    packageName: '@fastify-scale/jobs',
    redis,
    host: {},
    log: quiet,
    fail,
  })
  const client: RedisClient = await connections.command({ timeout: TIMEOUT })
  const queues = new Map<string, Queue>()
  function queueOf(name: string): Queue {
    let queue = queues.get(name)
    if (!queue) {
      queue = new Queue(name, {
        connection: client,
        prefix: `{${prefix}}`,
        skipVersionCheck: true,
        skipMetasUpdate: true,
      })
      queue.on('error', () => undefined)
      queues.set(name, queue)
    }
    return queue
  }
  return {
    reader: createReader({
      client,
      queueOf,
      eventsOf: () => {
        throw fail('the command does not wait for jobs')
      },
      timeout: TIMEOUT,
      closing: new AbortController().signal,
    }),
    async queues() {
      const names = new Set<string>()
      let cursor = '0'
      do {
        const [next, keys] = await (client as Redis).scan(cursor, 'MATCH', `{${prefix}}:*:meta`, 'COUNT', 1_000)
        for (const key of keys) names.add(key.slice(prefix.length + 3, -':meta'.length))
        cursor = next
      } while (cursor !== '0')
      return [...names].sort()
    },
    async deadLetterIds(queue) {
      const key = queueOf(queue).toKey('failed')
      const failedAt = new Map<string, number>()
      let cursor = '0'
      do {
        // Unlike pages by position, it passes over none while others come and go.
        const [next, found] = await (client as Redis).zscan(key, cursor, 'COUNT', 1_000)
        for (let i = 0; i < found.length; i += 2) failedAt.set(found[i] as string, Number(found[i + 1]))
        cursor = next
      } while (cursor !== '0')
      return [...failedAt].sort(([, a], [, b]) => a - b).map(([jobId]) => toPublicId({ queue, jobId }))
    },
    async close() {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()))
      await connections.close()
    },
  }
}
