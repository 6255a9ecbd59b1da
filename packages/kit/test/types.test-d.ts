import type { FastifyInstance } from 'fastify'
import { expectTypeOf, test } from 'vitest'
import type { ConnectionsOptions } from '../src/index.ts'

declare const fastify: FastifyInstance

test('the host of connections is a Fastify instance, also one without @fastify/redis', () => {
  const host: ConnectionsOptions['host'] = fastify
  expectTypeOf(host).toBeObject()
})
