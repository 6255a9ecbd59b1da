import { startRedis } from '@fastify-scale/dev-services'
import { forked } from './forked.mjs'

const server = new URL('../servers/realtime.mjs', import.meta.url).pathname
const clientsFile = new URL('../servers/realtime-clients.mjs', import.meta.url).pathname

/** Redis of the comparison's own. */
export async function setupRedis() {
  const redis = await startRedis()
  return { url: redis.url, stop: () => redis.stop() }
}

/** Server processes and, in one process, the clients; `use` gets both. Everything is ended afterwards. */
export async function withSockets({ redis, kind, processes = 2, sockets }, use) {
  const started = []
  const start = async (...args) => {
    const child = await forked(...args)
    started.push(child)
    return child
  }
  try {
    const servers = await Promise.all(
      Array.from({ length: processes }, () => start(server, { KIND: kind, REDIS_URL: redis }, ['--expose-gc'])),
    )
    const ports = servers.map(({ port }) => port)
    const clients = await start(clientsFile, {
      CLIENTS: JSON.stringify({ ports, count: sockets, raw: kind === 'ws' }),
    })
    return await use({
      servers,
      clients,
      start: (count) => start(clientsFile, { CLIENTS: JSON.stringify({ ports, count, raw: kind === 'ws' }) }),
      /** The sum of an answer of all servers. */
      async sum(type, key) {
        const answers = await Promise.all(servers.map((one) => one.ask(type)))
        return answers.reduce((sum, answer) => sum + answer[key], 0)
      },
    })
  } finally {
    await Promise.all(started.map((child) => child.stop()))
  }
}

/**
 * One round: connect, memory, `total` messages at `rate` a second from one process to all, then bursts as fast as they
 * arrive. A client that got not exactly every message is a failure.
 */
export function broadcastRound({ sockets, rate, total, bursts = 0, ...where }) {
  return withSockets({ sockets, ...where }, async ({ servers, clients, sum }) => {
    const [emitter] = servers
    const idle = await sum('memory', 'rss')
    const { ms } = await clients.ask('connect')
    const memory = (await sum('memory', 'rss')) - idle
    const emit = async (options) => {
      await clients.ask('reset')
      const { failures = 0 } = await emitter.ask('emit', options)
      await clients.ask('received', { total: options.total * sockets })
      const stats = await clients.ask('stats', { each: options.total })
      return { ...stats, failures: stats.failures + failures }
    }
    const warm = await emit({ total: Math.ceil(rate / 2), rate })
    const before = await sum('usage', 'cpuUs')
    const steady = await emit({ total, rate })
    const cpuUs = (await sum('usage', 'cpuUs')) - before
    let failures = warm.failures + steady.failures
    const start = performance.now()
    for (let i = 0; i < bursts; i++) failures += (await emit({ total: 50 })).failures
    const seconds = (performance.now() - start) / 1_000
    return {
      failures,
      cpuUs: cpuUs / (total * sockets),
      p50: steady.p50,
      p99: steady.p99,
      perSecond: (bursts * 50 * sockets) / seconds,
      handshakes: (sockets * 1_000) / ms,
      kbPerSocket: memory / 1_024 / sockets,
      memoryMb: memory / 1_048_576,
    }
  })
}
