import { setupRedis, withSockets } from '../lib/realtime.mjs'

const SOCKETS = 1_000
const DEAD = 50

export default {
  title: 'Realtime: closing with 1,000 sockets',
  question: `How long does \`app.close()\` take with ${SOCKETS.toLocaleString('en-US')} clients connected, and with ${DEAD} of them stopped, so that they answer nothing? Ours spreads the clients over time (1,000 a second, so that the other processes are not flooded) and meanwhile looks for those that answer nothing for 2 s, which it cuts.`,
  base: 'fastify-scale, all alive',
  metrics: [{ key: 'ms', label: 'ms', better: 'low', chart: true }],
  goals: [
    {
      metric: 'ms',
      contender: `fastify-scale, ${DEAD} dead`,
      max: 3_000,
      unit: 'ms',
      why: 'The patience of 2 s runs beside the 1 s of spreading, for who answers nothing at all; who goes silent only when it is closed last may add to it, up to 3 s.',
    },
  ],
  setup: setupRedis,
  contenders: ({ url }) => {
    const round = (kind, dead) => () =>
      withSockets(
        { redis: url, kind, processes: 1, sockets: SOCKETS - dead },
        async ({ servers, clients, startClients }) => {
          await clients.ask('connect')
          const others = await startClients(dead)
          await others.ask('connect')
          others.signal('SIGSTOP')
          const { failures } = await clients.ask('stats', { each: 0 })
          const { ms } = await servers[0].ask('close')
          return { failures, ms }
        },
      )
    return {
      'fastify-scale, all alive': round('ours', 0),
      [`fastify-scale, ${DEAD} dead`]: round('ours', DEAD),
      [`socket.io + Redis adapter, ${DEAD} dead`]: round('socketio', DEAD),
    }
  },
}
