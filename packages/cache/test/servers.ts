import { type RedisServer, startRedis, startRedisCluster } from '@fastify-scale/dev-services'
import { Cluster, Redis } from 'ioredis'

/** What the suite runs on: `describe.each(KINDS)`. */
export const KINDS = ['one server', 'a cluster of three masters'] as const
export type Kind = (typeof KINDS)[number]

/** Real servers of one kind. */
export interface Servers {
  /** For the option `redis`. */
  redis: string | Cluster
  /** Sees all keys. */
  admin: Redis | Cluster
  nodes: readonly RedisServer[]
  /** For child processes: the URL, or the nodes of the cluster. */
  address: { redis: string; cluster?: { host: string; port: number }[] }
  /** The keys that each server has. */
  keys(pattern: string): Promise<string[][]>
  freeze(): void
  thaw(): void
  stop(): Promise<void>
}

export async function startServers(kind: Kind): Promise<Servers> {
  if (kind === 'one server') {
    const server = await startRedis()
    const admin = new Redis(server.url)
    return {
      redis: server.url,
      admin,
      nodes: [server],
      address: { redis: server.url },
      keys: async (pattern) => [await admin.keys(pattern)],
      freeze: () => server.freeze(),
      thaw: () => server.thaw(),
      async stop() {
        admin.disconnect()
        await server.stop()
      },
    }
  }
  // One master that is away takes only its own slots with it.
  const cluster = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] })
  const address = cluster.nodes.map(({ host, port }) => ({ host, port }))
  const admin = new Cluster(address)
  admin.on('error', () => undefined)
  return {
    redis: admin,
    admin,
    nodes: cluster.nodes,
    address: { redis: '', cluster: address },
    // Not by way of `admin`: a node whose connection has just ended is not among its nodes.
    keys: (pattern) => Promise.all(cluster.nodes.map(({ url }) => keysOf(url, pattern))),
    freeze: () => cluster.nodes.forEach((node) => node.freeze()),
    thaw: () => cluster.nodes.forEach((node) => node.thaw()),
    async stop() {
      admin.disconnect()
      await cluster.stop()
    },
  }
}

async function keysOf(url: string, pattern: string): Promise<string[]> {
  const server = new Redis(url)
  try {
    return await server.keys(pattern)
  } finally {
    server.disconnect()
  }
}
