import { LIST, startBoard } from '../lib/board.mjs'
import { APPS } from '../lib/apps.mjs'
import { TURNS, launcherInTurn, node22, startAndMemory } from '../lib/launcher-round.mjs'
import { launcherTools } from '../lib/launchers.mjs'

const headers = { 'accept-encoding': 'gzip' }

const LEFT =
  "What is left for each request are two listeners that Fastify adds to a response wherever there is a logger (a cluster with Fastify's logger has them too), and with metrics one hook and two readings of the clock."

export default {
  title: 'The launcher: the list of photos, 2 workers',
  question:
    "What does a launcher cost a real application? The example app's list of photos, from the cache and with gzip, 64 kept-alive connections, 2 workers; CPU of all server processes, the primary or daemon included. All launchers are up at once, and the load goes from one to the next every two seconds.",
  base: 'node:cluster',
  metrics: [
    { key: 'cpuList', label: 'CPU ms per 1,000', better: 'low', chart: true },
    { key: 'rpsList', label: 'requests/s', better: 'high' },
    { key: 'p99List', label: 'p99 ms', better: 'low' },
    ...startAndMemory,
  ],
  goals: [{ metric: 'cpuList', contender: 'fastify-scale', over: 'node:cluster', max: 1.05, why: LEFT }],
  turns: TURNS,
  async setup() {
    const tools = await launcherTools()
    const { env, stop } = await startBoard()
    return { tools, env, stop }
  },
  contenders({ tools, env }) {
    const round = (kind, more) =>
      launcherInTurn(kind, { app: APPS.board, env, tools, workers: 2, paths: { List: LIST }, headers, ...more })
    return {
      'node:cluster': round('bare'),
      'fastify-scale, no metrics': round('ours'),
      'fastify-scale': round('ours-metrics'),
      'pm2 7': round('pm2'),
      'Watt 3, Node 22': round('watt'),
      'fastify-scale, Node 22': round('ours-metrics', { node: node22(tools) }),
    }
  },
}
