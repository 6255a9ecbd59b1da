import { disturbedRound } from '../lib/disturbed.mjs'
import { launcherTools } from '../lib/launchers.mjs'
import { CLIENTS } from '../lib/steady-clients.mjs'

const clients = Object.keys(CLIENTS)
let turn = 0

/** kill -9 to one worker; they take turns. */
function killOne({ workerPids }) {
  const pids = workerPids()
  if (pids.length) process.kill(pids[turn++ % pids.length], 'SIGKILL')
}

const round = (kind, tools) => disturbedRound(kind, { tools, clients, disturb: killOne })

export default {
  title: 'The launcher: kill -9 of a worker every second',
  question: `What do clients see when a worker dies every second? Two workers; at the same time ${clients.map((name) => CLIENTS[name].label).join('; ')}. A request that the killed worker had in hand can't be answered by anyone; a hang (no answer within 5 s) need not be.`,
  base: 'node:cluster',
  note: 'Watt is not here: its workers are threads of one process, which a kill ends with all of them.',
  metrics: [
    { key: 'hangs', label: 'hangs', better: 'low' },
    { key: 'failed', label: 'failures', better: 'low', chart: true },
    { key: 'requests', label: 'of requests', better: 'high' },
    { key: 'times', label: 'kills', better: 'high' },
    { key: 'thinkLost', label: 'lost per 100,000, think time', better: 'low' },
    { key: 'oneLost', label: 'lost per 100,000, one per connection', better: 'low' },
    { key: 'slowLost', label: 'lost per 100,000, 50 ms handler', better: 'low' },
  ],
  goals: [{ metric: 'hangs', contender: 'fastify-scale', max: 0, always: true }],
  setup: async () => ({ tools: await launcherTools({ watt: false }) }),
  contenders: ({ tools }) => ({
    'node:cluster': () => round('bare', tools),
    'fastify-scale': () => round('ours-metrics', tools),
    'pm2 7': () => round('pm2', tools),
  }),
}
