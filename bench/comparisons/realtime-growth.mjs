import { growthOf } from '../lib/growth.mjs'
import { broadcastInTurn, setupRedis } from '../lib/realtime.mjs'
import { format } from '../lib/rounds.mjs'
import { alone } from '../lib/side-by-side.mjs'

const points = { '10 sockets': 10, '100 sockets': 100, '1,000 sockets': 1_000, '5,000 sockets': 5_000 }

export default {
  title: 'Growth: 10 to 5,000 sockets',
  question:
    'Clients in one plain room on two processes: memory of both over what it was without clients, and CPU of both for each message that reached a client, at 20,000 deliveries a second (at most 200 messages).',
  base: '1,000 sockets',
  metrics: [
    { key: 'memoryMb', label: 'memory MB', better: 'low', chart: true },
    { key: 'cpuUs', label: 'CPU us per delivery', better: 'low', chart: true },
    { key: 'p99', label: 'p99 ms', better: 'low' },
  ],
  setup: setupRedis,
  contenders: ({ url }) =>
    Object.fromEntries(
      Object.entries(points).map(([name, sockets]) => {
        const rate = Math.min(200, 20_000 / sockets)
        return [name, alone(broadcastInTurn({ redis: url, kind: 'ours', sockets, rate, total: rate * 3 }))]
      }),
    ),
  growth: (result) =>
    growthOf(result, {
      points,
      xLabel: 'sockets',
      sentence: (_ratio, figure) =>
        `Memory is linear in the sockets (${format(((figure('5,000 sockets', 'memoryMb') - figure('1,000 sockets', 'memoryMb')) * 1_024) / 4_000)} KB for each one from 1,000 to 5,000; below that it is what the process had to spare); CPU per delivery falls from ${format(figure('10 sockets', 'cpuUs'))} to ${format(figure('100 sockets', 'cpuUs'))} us while few sockets share the cost of a message, and is flat from there: ${format(figure('1,000 sockets', 'cpuUs'))} us at 1,000, ${format(figure('5,000 sockets', 'cpuUs'))} us at 5,000.`,
    }),
}
