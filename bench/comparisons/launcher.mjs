import { freePort } from '../lib/ports.mjs'
import { httpRound } from '../lib/http.mjs'
import { npmTool } from '../lib/tools.mjs'

const server = (name) => new URL(`../servers/${name}.mjs`, import.meta.url).pathname
const WORKERS = '2'

async function round(file, env, args = []) {
  const port = await freePort()
  return httpRound({
    command: [process.execPath, server(file), ...args],
    env: { ...env, WORKERS, PORT: String(port) },
    path: '/json',
    connections: 64,
  })
}

export default {
  title: 'The launcher: JSON by two workers',
  question:
    'What does a launcher cost per request? A 4 KB JSON list, 64 kept-alive connections, two workers; CPU of all server processes, the primary or daemon included.',
  base: 'node:cluster',
  metrics: [
    { key: 'cpuPer1k', label: 'CPU ms per 1,000 requests', better: 'low', chart: true },
    { key: 'rps', label: 'requests/s', better: 'high' },
    { key: 'p99', label: 'p99 ms', better: 'low' },
    { key: 'rssMb', label: 'memory MB', better: 'low' },
    { key: 'startMs', label: 'start to first answer ms', better: 'low' },
  ],
  goals: [
    { metric: 'cpuPer1k', contender: 'fastify-scale', over: 'node:cluster', max: 1.02 },
    { metric: 'cpuPer1k', contender: 'fastify-scale, metrics', over: 'node:cluster', max: 1.05 },
  ],
  async setup() {
    return { pm2: await npmTool('pm2@7') }
  },
  contenders: ({ pm2 }) => ({
    'node:cluster': () => round('bare-cluster', {}),
    'fastify-scale': () => round('launcher', {}, [server('hello')]),
    'fastify-scale, metrics': () => round('launcher', { METRICS: '0' }, [server('hello')]),
    'pm2 7': () => round('pm2', { PM2: pm2 }),
  }),
}
