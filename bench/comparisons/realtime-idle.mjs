import { setupRedis, withSockets } from '../lib/realtime.mjs'

const SOCKETS = 5_000

export default {
  title: 'Realtime: 5,000 idle sockets',
  question: `What does a client cost that is only there? ${SOCKETS.toLocaleString('en-US')} clients connect to two processes, 50 handshakes at a time; memory of both after garbage collection, over what it was before.`,
  base: 'ws + Redis pub/sub',
  metrics: [
    { key: 'kbPerSocket', label: 'KB per socket', better: 'low', chart: true },
    { key: 'handshakes', label: 'handshakes/s', better: 'high' },
    { key: 'cpuUs', label: 'CPU us per handshake', better: 'low' },
  ],
  setup: setupRedis,
  contenders: ({ url }) => {
    const round = (kind) => () =>
      withSockets({ redis: url, kind, sockets: SOCKETS }, async ({ clients, sum }) => {
        const idle = await sum('memory', 'rss')
        const before = await sum('usage', 'cpuUs')
        const { ms } = await clients.ask('connect')
        const cpuUs = (await sum('usage', 'cpuUs')) - before
        const memory = (await sum('memory', 'rss')) - idle
        const { failures } = await clients.ask('stats', { each: 0 })
        return {
          failures,
          kbPerSocket: memory / 1_024 / SOCKETS,
          handshakes: (SOCKETS * 1_000) / ms,
          cpuUs: cpuUs / SOCKETS,
        }
      })
    return {
      'ws + Redis pub/sub': round('ws'),
      'fastify-scale, plain room': round('ours'),
      'fastify-scale, with history': round('history'),
      'socket.io + Redis adapter': round('socketio'),
    }
  },
}
