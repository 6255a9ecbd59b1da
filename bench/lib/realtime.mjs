import { startRedis } from '@fastify-scale/dev-services'
import { forked } from './forked.mjs'

const server = new URL('../servers/realtime.mjs', import.meta.url).pathname
const clientsFile = new URL('../servers/realtime-clients.mjs', import.meta.url).pathname

/** Redis of the comparison's own. */
export async function setupRedis() {
  const redis = await startRedis()
  return { url: redis.url, stop: () => redis.stop() }
}

/** Server processes and, in one process, the clients; `stop()` ends all of them. */
async function startSockets({ redis, kind, processes = 2, sockets }) {
  const started = []
  const start = async (...args) => {
    const child = await forked(...args)
    started.push(child)
    return child
  }
  const stop = async () => void (await Promise.all(started.map((child) => child.stop())))
  try {
    const servers = await Promise.all(
      Array.from({ length: processes }, () => start(server, { KIND: kind, REDIS_URL: redis }, ['--expose-gc'])),
    )
    const ports = servers.map(({ port }) => port)
    const startClients = (count) =>
      start(clientsFile, { CLIENTS: JSON.stringify({ ports, count, raw: kind === 'ws' }) })
    return {
      servers,
      clients: await startClients(sockets),
      startClients,
      /** The sum of an answer of all servers. */
      async sum(type, key) {
        const answers = await Promise.all(servers.map((one) => one.ask(type)))
        return answers.reduce((sum, answer) => sum + answer[key], 0)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Servers and clients for as long as `use` has them. */
export async function withSockets(options, use) {
  const started = await startSockets(options)
  try {
    return await use(started)
  } finally {
    await started.stop()
  }
}

/**
 * Clients that are connected, in turns (`sideBySide()`): in each, `total` messages at `rate` a second go from one
 * process to all; after the last, bursts as fast as they arrive. A client that got not exactly every message is a failure.
 */
export const broadcastInTurn =
  ({ sockets, rate, total, bursts = 0, ...where }) =>
  async () => {
    const { servers, clients, sum, stop } = await startSockets({ sockets, ...where })
    const [emitter] = servers
    const emit = async (options) => {
      await clients.ask('reset')
      const { failures = 0 } = await emitter.ask('emit', options)
      await clients.ask('received', { total: options.total * sockets })
      const stats = await clients.ask('stats', { each: options.total })
      return { ...stats, failures: stats.failures + failures }
    }
    let failures = 0
    let connected
    return {
      async warm() {
        const idle = await sum('memory', 'rss')
        const { ms } = await clients.ask('connect')
        const memory = (await sum('memory', 'rss')) - idle
        connected = { handshakes: (sockets * 1_000) / ms, memoryMb: memory / 1_048_576 }
        failures += (await emit({ total: rate * 3, rate })).failures
      },
      async turn() {
        const before = await sum('usage', 'cpuUs')
        const { p50, p99, failures } = await emit({ total, rate })
        const cpuUs = (await sum('usage', 'cpuUs')) - before
        return { failures, cpuUs: cpuUs / (total * sockets), p50, p99 }
      },
      async last() {
        const start = performance.now()
        for (let i = 0; i < bursts; i++) failures += (await emit({ total: 50 })).failures
        const seconds = (performance.now() - start) / 1_000
        return { failures, ...connected, perSecond: (bursts * 50 * sockets) / seconds }
      },
      stop,
    }
  }
