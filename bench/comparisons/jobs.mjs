import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startServer } from '../lib/http.mjs'
import { freePort } from '../lib/ports.mjs'
import { setupRedis } from '../lib/realtime.mjs'
import { scriptRound } from '../lib/script.mjs'

const cli = new URL('../node_modules/@fastify-scale/cluster/dist/cli.js', import.meta.url).pathname
const app = new URL('../servers/jobs-app.mjs', import.meta.url).pathname
const client = new URL('../servers/paced-client.mjs', import.meta.url).pathname
/** 2,000 requests: the p99 of fewer is a matter of a few that were unlucky. */
const SECONDS = 10

/** The launcher with two web workers; jobs of 100 ms of CPU each wait in the queue all the time, or there are none. */
async function round(redis, { jobWorkers, burning, nice }) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-bench-'))
  const args = ['--workers', '2', '--job-workers', String(jobWorkers), '--port', String(port), '--host', '127.0.0.1']
  if (nice !== undefined) args.push('--job-nice', String(nice))
  const server = await startServer(
    [process.execPath, cli, 'start', app, ...args, '--name', 'bench', '--runtime-dir', dir],
    {
      env: { REDIS_URL: redis, PREFIX: `bench-${port}` },
      readUrl: (line) => line.includes('2 workers"') && { url },
    },
  )
  try {
    const add = (jobs) => fetch(`${url}/burn?jobs=${jobs}`, { method: 'POST' })
    const completed = async () => (await (await fetch(`${url}/counts`)).json()).completed
    await add(1)
    while ((await completed()) < 1) await new Promise((resolve) => setTimeout(resolve, 50))
    if (burning) await add(300)
    const before = await completed()
    const result = await scriptRound(client, [], {
      env: { URL: `${url}/json`, RATE: '200', SECONDS: String(SECONDS), WARMUP: '1' },
    })
    const jobs = (await completed()) - before
    // A queue that stood still, or that ran empty, is not what is to be measured.
    const asMeant = burning ? jobs > SECONDS && jobs < 300 : jobs === 0
    return { ...result, jobs: jobs / (SECONDS + 1), failures: result.failures + (asMeant ? 0 : 1) }
  } finally {
    await server.stop()
  }
}

export default {
  title: 'Jobs: the web process while jobs burn CPU',
  question:
    'Does a list route (4 KB of JSON, two web workers under the launcher, 200 requests a second) feel jobs that burn CPU, 100 ms each and always one waiting? In a job worker of its own beside them, at the lower priority that the launcher gives it (nice 10), and below everybody else (`--job-nice idle`); for comparison, at the same priority, and in the web workers themselves, where no job worker runs.',
  base: 'job worker, idle',
  metrics: [
    { key: 'p99', label: 'p99 ms', better: 'low', chart: true },
    { key: 'p50', label: 'p50 ms', better: 'low' },
    { key: 'jobs', label: 'jobs/s', better: 'high' },
  ],
  goals: [
    {
      metric: 'p99',
      contender: 'job worker, burning',
      over: 'job worker, idle',
      max: 1.2,
      why: 'There are two cores: a web worker that wakes up often finds both taken, one of them by the job, and waits for the end of its slice, also where the job has the lower priority; the median is not touched. With `--job-nice idle` it does not wait, and on a machine with a core to spare for the job worker neither.',
    },
    { metric: 'p99', contender: 'job worker, burning, --job-nice idle', over: 'job worker, idle', max: 1.2 },
  ],
  note: 'Two cores for all of it: while the job worker burns one, two web workers, the primary, Redis and the sender share the other. The sender goes before all of them (nice -15, where it may): it stands for clients on other machines, and should not count its own wait for a core.',
  setup: setupRedis,
  contenders: ({ url }) => ({
    'job worker, idle': () => round(url, { jobWorkers: 1, burning: false }),
    'job worker, burning': () => round(url, { jobWorkers: 1, burning: true }),
    'job worker, burning, --job-nice idle': () => round(url, { jobWorkers: 1, burning: true, nice: 'idle' }),
    'job worker, burning, --job-nice 0': () => round(url, { jobWorkers: 1, burning: true, nice: 0 }),
    'jobs in the web workers': () => round(url, { jobWorkers: 0, burning: true }),
  }),
}
