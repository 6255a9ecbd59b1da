import { DevServicesError } from './errors.ts'
import { redisRequest } from './redis-protocol.ts'
import { startRedis, type RedisOptions, type RedisServer } from './redis.ts'
import { freePort, waitFor } from './wait.ts'

export interface RedisClusterOptions extends Omit<RedisOptions, 'port' | 'dir'> {
  /** Number of masters, at least 3. There are no replicas. Default 3. */
  masters?: number
}

/** A running Redis Cluster, whose slots are spread evenly. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[]
  readonly urls: readonly string[]
  /** Ends all nodes and removes their data. May be called twice. */
  stop(): Promise<void>
}

const SLOTS = 16_384
const ATTEMPTS = 3

/**
 * Starts a real Redis Cluster on loopback ports; resolves when every node sees all slots served.
 * @throws SCALE_DEV_SERVICES_BAD_OPTION and what `startRedis` throws
 */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, ...redis } = options
  if (!Number.isInteger(masters) || masters < 3) {
    throw new DevServicesError('SCALE_DEV_SERVICES_BAD_OPTION', `masters must be an integer of at least 3: ${masters}`)
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(masters, redis)
    } catch (error) {
      // Each node has two ports, and only the first of them is chosen anew by startRedis.
      if (attempt === ATTEMPTS || !/Address already in use/.test((error as Error).message)) throw error
    }
  }
}

async function startOnce(masters: number, options: RedisOptions): Promise<RedisCluster> {
  const nodes: RedisServer[] = []
  const busPorts: number[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  try {
    for (let index = 0; index < masters; index++) {
      const bus = await freePort()
      const args = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '2000']
      nodes.push(await startRedis({ ...options, args: [...args, ...(options.args ?? [])] }))
      busPorts.push(bus)
    }
    const ask = (node: RedisServer, ...command: string[]): Promise<string> =>
      redisRequest({ host: node.host, port: node.port, password: options.password }, command, 5_000)
    const [first] = nodes as [RedisServer]
    for (const [index, node] of nodes.entries()) {
      const from = Math.floor((index * SLOTS) / masters)
      const to = Math.floor(((index + 1) * SLOTS) / masters) - 1
      await ask(node, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to))
      await ask(node, 'CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))
      if (index > 0) await ask(node, 'CLUSTER', 'MEET', first.host, String(first.port), String(busPorts[0]))
    }
    for (const node of nodes) {
      await waitFor(
        async () => {
          const info = await ask(node, 'CLUSTER', 'INFO')
          return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${masters}\r`)
        },
        { timeout: 30_000, message: `cluster_state:ok on ${node.url}` },
      )
    }
    return { nodes, urls: nodes.map((node) => node.url), stop }
  } catch (error) {
    await stop()
    throw error
  }
}
