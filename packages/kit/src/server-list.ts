import type { FastifyInstance } from 'fastify'

/**
 * A list that belongs to one server: `fastify.server` is the same object in every context, and the registered symbol
 * makes two copies of kit agree.
 */
export function serverList<T>(fastify: Pick<FastifyInstance, 'server'>, name: string): T[] {
  const key = Symbol.for(`fastify-scale.${name}`)
  const server = fastify.server as unknown as Record<symbol, T[] | undefined>
  let list = server[key]
  if (!list) {
    list = []
    Object.defineProperty(server, key, { value: list, enumerable: false })
  }
  return list
}
