import { disturbedRound } from '../lib/disturbed.mjs'
import { launcherTools } from '../lib/launchers.mjs'
import { CLIENTS } from '../lib/steady-clients.mjs'

const clients = Object.keys(CLIENTS)
const round = (kind, tools) => disturbedRound(kind, { tools, clients, disturb: (launcher) => launcher.reload() })

export default {
  title: 'The launcher: reloads under load',
  question: `What is lost when all workers are replaced, again and again, by the command of each launcher, one a second or as soon as the one before has ended? Two workers; at the same time ${clients.map((name) => CLIENTS[name].label).join('; ')}. Nobody tries again; lost is what failed or had no answer within 5 s, per 100,000 requests of that client. The time is that of one reload under this load, from the command to its end.`,
  base: 'node:cluster',
  method:
    'node:cluster by the recipe of its documentation (disconnect, kill after 2 s, fork, wait for listening). pm2: `pm2 reload` with `wait_ready`, the application closes at SIGINT. Watt: `wattpm restart`, since its `reload` ends the process before the next one starts.',
  metrics: [
    { key: 'thinkLost', label: 'lost per 100,000, think time', better: 'low' },
    { key: 'oneLost', label: 'lost per 100,000, one per connection', better: 'low' },
    { key: 'slowLost', label: 'lost per 100,000, 50 ms handler', better: 'low', chart: true },
    { key: 'failed', label: 'failures', better: 'low' },
    { key: 'hangs', label: 'hangs', better: 'low' },
    { key: 'requests', label: 'of requests', better: 'high' },
    { key: 'times', label: 'reloads', better: 'high' },
    { key: 'ms', label: 'ms per reload', better: 'low' },
  ],
  goals: ['failed', 'hangs'].map((metric) => ({ metric, contender: 'fastify-scale', max: 0, always: true })),
  setup: async () => ({ tools: await launcherTools() }),
  contenders: ({ tools }) => ({
    'node:cluster': () => round('bare', tools),
    'fastify-scale': () => round('ours-metrics', tools),
    'pm2 7': () => round('pm2', tools),
    'Watt 3, Node 22': () => round('watt', tools),
  }),
}
