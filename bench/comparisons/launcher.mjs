import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../lib/ports.mjs'
import { httpRound } from '../lib/http.mjs'
import { npmTool } from '../lib/tools.mjs'

const server = (name) => new URL(`../servers/${name}.mjs`, import.meta.url).pathname
const WORKERS = '2'

async function round(file, env) {
  const port = await freePort()
  return httpRound({
    command: [process.execPath, server(file)],
    env: { ...env, WORKERS, PORT: String(port) },
    path: '/json',
    connections: 64,
  })
}

const cli = new URL('../node_modules/@fastify-scale/cluster/dist/cli.js', import.meta.url).pathname

/** The launcher itself, as it is started by hand. */
async function launcherRound(...more) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-bench-'))
  const args = [
    'start',
    server('hello'),
    '--workers',
    WORKERS,
    '--port',
    String(port),
    '--host',
    '127.0.0.1',
    '--name',
    'bench',
    '--runtime-dir',
    dir,
  ]
  return httpRound({
    command: [process.execPath, cli, ...args, ...more],
    env: {},
    readUrl: (line) => line.includes(`${WORKERS} workers"`) && { url },
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
    'fastify-scale': () => launcherRound('--no-metrics'),
    'fastify-scale, metrics': () => launcherRound(),
    'pm2 7': () => round('pm2', { PM2: pm2 }),
  }),
}
