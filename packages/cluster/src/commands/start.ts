import { CliError, type CliCommand } from '@fastify-scale/kit'
import type { StartClusterOptions } from '../options.ts'
import { keepHeapSmall } from '../primary/small-heap.ts'
import { obeySignals } from '../signals.ts'
import { startCluster } from '../start-cluster.ts'
import { integer, noMore, text, type Values } from './common.ts'

export const start: CliCommand = {
  summary: 'run an app on every core, in the foreground',
  usage: 'start <app> [options]',
  options: {
    workers: { type: 'string', short: 'w' },
    'job-workers': { type: 'string' },
    'job-nice': { type: 'string' },
    port: { type: 'string', short: 'p' },
    host: { type: 'string' },
    socket: { type: 'string' },
    name: { type: 'string' },
    balance: { type: 'string' },
    sticky: { type: 'string' },
    admin: { type: 'string' },
    'start-timeout': { type: 'string' },
    'drain-timeout': { type: 'string' },
    'hang-timeout': { type: 'string' },
    'max-memory': { type: 'string' },
    'red-cpu': { type: 'string' },
    'red-memory': { type: 'string' },
    'red-after': { type: 'string' },
    shed: { type: 'boolean' },
    'no-metrics': { type: 'boolean' },
    'log-level': { type: 'string' },
    'request-log': { type: 'boolean' },
    'runtime-dir': { type: 'string' },
  },
  help: {
    workers: 'auto (default: what the machine or container grants), N, or min..max',
    'job-workers': 'further workers that do not listen, with the role jobs; default 0',
    'job-nice': 'how much they yield to others that want the same core: 0 (not) to 19, or idle: at once; default 10',
    port: 'default: $PORT, or 3000',
    host: 'default: $HOST, or localhost; 0.0.0.0 for all addresses',
    socket: 'a unix socket to listen on instead',
    name: "names the control socket; default: the package's name",
    balance: 'round-robin (default); none or reuse-port: workers accept for themselves',
    sticky: 'a last resort: the same worker for the same client, by ip or header:<name>',
    admin: 'livez, readyz, metrics and status: 9100, 0.0.0.0:9100 or off; default a free port of loopback',
    'start-timeout': 'for the app to become ready; default 30s',
    'drain-timeout': 'for a worker to finish what it has; default 30s',
    'hang-timeout': 'replace a worker whose event loop does not answer; default 10s, 0 never',
    'max-memory': 'replace a worker that has more than this, such as 512MB',
    'red-cpu': 'warn past this percentage of the cores granted; default 75',
    'red-memory': 'warn, and replace the biggest worker, past this percentage; default 85',
    'red-after': 'for how long a red line must be crossed; default 30s',
    shed: "answer 503 while a worker's event loop can't keep up",
    'no-metrics': 'do not count requests by route',
    'log-level': 'trace, debug, info (default), warn, error, fatal, silent',
    'request-log': 'log each request',
    'runtime-dir': 'directory of the control socket',
  },
  async run({ values, positionals }) {
    noMore(positionals, 1)
    const [app] = positionals
    if (app === undefined) throw new CliError("which app? fastify-scale start <path of the app's module>", 2)
    keepHeapSmall()
    const signals = obeySignals()
    const cluster = await startCluster(optionsOf(app, values)).catch((error: Error) => {
      throw new CliError(error.message)
    })
    signals.cluster(cluster)
    return (await cluster.ended) ? 1 : 0
  },
}

function optionsOf(app: string, values: Values): StartClusterOptions {
  const { PORT, HOST } = process.env
  return {
    app,
    name: text(values, 'name'),
    workers: text(values, 'workers'),
    jobWorkers: integer(values, 'job-workers'),
    jobNice: values['job-nice'] === 'idle' ? 'idle' : integer(values, 'job-nice', " or 'idle'"),
    port: integer(values, 'port') ?? (PORT ? integer({ port: PORT }, 'port') : undefined),
    host: text(values, 'host') ?? (HOST || undefined),
    path: text(values, 'socket'),
    balance: text(values, 'balance') as StartClusterOptions['balance'],
    sticky: text(values, 'sticky'),
    admin: text(values, 'admin'),
    startTimeout: text(values, 'start-timeout'),
    drainTimeout: text(values, 'drain-timeout'),
    hangTimeout: values['hang-timeout'] === '0' ? 0 : text(values, 'hang-timeout'),
    maxMemory: text(values, 'max-memory'),
    redLines: {
      cpu: percentage(values, 'red-cpu'),
      memory: percentage(values, 'red-memory'),
      after: text(values, 'red-after'),
    },
    shed: values['shed'] === true,
    metrics: values['no-metrics'] !== true,
    logLevel: text(values, 'log-level'),
    requestLog: values['request-log'] === true,
    runtimeDir: text(values, 'runtime-dir'),
  }
}

function percentage(values: Values, name: string): number | undefined {
  const value = integer(values, name)
  return value === undefined ? undefined : value / 100
}
