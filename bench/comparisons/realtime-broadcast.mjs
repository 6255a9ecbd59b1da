import { broadcastInTurn, setupRedis } from '../lib/realtime.mjs'

const base = 'ws + Redis pub/sub'

export default {
  title: 'Realtime: broadcasts to 500 clients',
  question:
    'What does it cost to bring a message of 100 characters to every client? 500 clients on two processes, 100 messages a second from one of them, then bursts of 50 as fast as they arrive; all services are up at once, and the messages go from one to the next every two seconds, six times a round; CPU of both server processes for each message that reached a client. Each client got every message.',
  base,
  metrics: [
    { key: 'cpuUs', label: 'CPU us per delivery', better: 'low', chart: true },
    { key: 'p50', label: 'p50 ms', better: 'low' },
    { key: 'p99', label: 'p99 ms', better: 'low' },
    { key: 'perSecond', label: 'deliveries/s in bursts', better: 'high', chart: true },
    { key: 'handshakes', label: 'handshakes/s', better: 'high' },
  ],
  goals: [
    {
      metric: 'cpuUs',
      contender: 'fastify-scale, plain room',
      over: base,
      max: 1.1,
      why: "Socket.IO's adapter looks every socket up by its id, which `ws.clients` does not have to; the frame is made once for all of them, where a plain `ws.send()` makes one for each, and what one turn of the event loop sends goes out in one write.",
    },
  ],
  note: 'The clients, which read frames by hand, and Redis run on the same two cores.',
  turns: 6,
  setup: setupRedis,
  contenders: ({ url }) => {
    const round = (kind, processes) =>
      broadcastInTurn({ redis: url, kind, processes, sockets: 500, rate: 100, total: 200, bursts: 10 })
    return {
      [base]: round('ws', 2),
      'fastify-scale, plain room': round('ours', 2),
      'fastify-scale, with history': round('history', 2),
      'socket.io + Redis adapter': round('socketio', 2),
      'socket.io, one process, no adapter': round('socketio-alone', 1),
    }
  },
}
