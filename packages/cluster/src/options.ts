import { checkKnown, type Duration, parseDuration, parseInteger, parseSize, show, type Size } from '@fastify-scale/kit'
import { type AdminAddress, parseAdminAddress } from './health/admin.ts'
import { ClusterOptionError } from './errors.ts'
import { workingDirectory } from './primary/app-path.ts'
import { parseSticky, type Sticky } from './primary/sticky/sticky.ts'
import type { RedLineRules } from './primary/red-lines.ts'
import { defaultWorkers } from './limits/limits.ts'
import type { Yielding } from './worker/priority.ts'

/** Options of `startCluster()` and, in kebab-case, of `fastify-scale start`. */
export interface StartClusterOptions {
  /** The app's module: default export a Fastify plugin, or named export `createServer(options)`. Relative to `cwd`. */
  app: string
  /** Default: the name in the app's package.json, else that of its folder. Names the control socket. */
  name?: string
  /**
   * `'auto'` (default): one for each core that the machine or the container grants. A number: so many. `'2..8'`: between
   * these, following the use of the event loops.
   */
  workers?: number | string
  /**
   * Further workers that run the same app and do not listen, with `fastify.cluster.worker.role` (and the environment
   * variable FASTIFY_SCALE_ROLE) `'jobs'`. Default 0.
   */
  jobWorkers?: number
  /**
   * How much lower than the web workers' the scheduling priority of job workers is, with their threads and child
   * processes: 0 (the same) to 19, as in nice(1). Where both want a core at the same time, the kernel's weights give a
   * job worker about a tenth of it with 10, the default; where nobody else wants it, it has all of it. `'idle'`: below
   * all others (Linux's SCHED_IDLE, by chrt), who then never wait for a job; on a machine without spare CPU jobs stand
   * nearly still.
   */
  jobNice?: Yielding
  /** Default 3000. */
  port?: number
  /** Default `'localhost'`. */
  host?: string
  /** A unix socket to listen on, instead of host and port. */
  path?: string
  /**
   * Who accepts. `'round-robin'` (default): the primary, which gives connections in turn to workers that are free: even
   * load with kept-alive connections of a proxy. `'none'`: the workers, from one shared socket: cheaper where connections
   * carry one request each, and uneven where there are few long ones. `'reuse-port'`: the kernel, over a socket for each
   * worker; on Node 22.12 or later, and only where net.ipv4.tcp_migrate_req is 1: else reloads would lose connections.
   */
  balance?: Balance
  /**
   * A last resort, for apps that keep what belongs to a client in the memory of one process: connections of the same
   * client go to the same worker. `'ip'`: by its address. `'header:x-user'`: by that header of a connection's first
   * request, by the address where it has none. Only with `balance: 'round-robin'`. Default: not.
   */
  sticky?: string
  /** How long the app may take to become ready. Default `'30s'`. */
  startTimeout?: Duration
  /** How long a worker may drain until it is killed. Default `'30s'`. */
  drainTimeout?: Duration
  /** A worker whose event loop does not answer for this long, 200 ms or more, is replaced. 0 turns that off. Default `'10s'`. */
  hangTimeout?: Duration
  /**
   * Lines that the cluster should not be past for long. `cpu` and `memory`: shares of what the machine or the container
   * grants, 0.75 and 0.85. `after`: for how long, `'30s'`. They are reported; past that of memory the biggest worker is
   * replaced, without losing a request.
   */
  redLines?: { cpu?: number; memory?: number; after?: Duration }
  /** A worker with more resident memory than this for longer than `redLines.after` is replaced. Default: none. */
  maxMemory?: Size
  /** Answers 503 with Retry-After while a worker's event loop can't keep up. Default false. */
  shed?: boolean
  /** Counts requests by route and measures each worker, for `metrics` and `status`. Default true. */
  metrics?: boolean
  /** Level of the workers' logs, where the app's own options do not say. Default `'info'`. */
  logLevel?: string
  /** Log each request and its answer. Default false: that costs more than a small handler. */
  requestLog?: boolean
  /**
   * Where to serve livez, readyz, metrics and status: `9100` (on loopback), `'0.0.0.0:9100'`, `'off'`. Default: on a free
   * port of loopback, which the start-up line and `status` name: several apps on one host never take each other's.
   */
  admin?: string | number
  /** Length of the kernel's queue of connections that are not accepted yet. Default 4096 (the kernel's own limit applies). */
  backlog?: number
  /** Options of Node for the workers, such as `--max-old-space-size=512`. Default: those of this process. */
  execArgv?: string[]
  /** Environment of the workers, besides that of this process. */
  env?: Record<string, string>
  /** Default: the current directory, by the path that led here: a symlink in it is followed anew at each reload. */
  cwd?: string
  /** Directory of the control socket, 0700. Default: `RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR` or the temporary directory. */
  runtimeDir?: string
}

export type Balance = 'round-robin' | 'none' | 'reuse-port'

/** The options with defaults, checked. */
export interface ResolvedOptions {
  app: string
  name: string | undefined
  workers: WorkerRange
  jobWorkers: number
  jobNice: Yielding
  port: number
  host: string
  path: string | undefined
  balance: Balance
  sticky: Sticky | undefined
  startTimeout: number
  drainTimeout: number
  hangTimeout: number
  redLines: RedLineRules
  shed: boolean
  metrics: boolean
  logLevel: string
  requestLog: boolean
  admin: AdminAddress | undefined
  backlog: number
  execArgv: string[]
  env: Record<string, string>
  cwd: string
  runtimeDir: string | undefined
}

export interface WorkerRange {
  min: number
  max: number
  /** How many to start. */
  initial: number
}

/** Below this, in ms, what any process does in passing would be a hang: garbage collection, a busy machine. */
const SHORTEST_HANG = 200

/** More workers than this are a slip of the finger. */
const MOST_WORKERS = 1_024

const KNOWN = [
  'app',
  'name',
  'workers',
  'jobWorkers',
  'jobNice',
  'port',
  'host',
  'path',
  'balance',
  'sticky',
  'startTimeout',
  'drainTimeout',
  'hangTimeout',
  'redLines',
  'maxMemory',
  'shed',
  'metrics',
  'logLevel',
  'requestLog',
  'admin',
  'backlog',
  'execArgv',
  'env',
  'cwd',
  'runtimeDir',
] as const
const BALANCES: readonly Balance[] = ['round-robin', 'none', 'reuse-port']
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
const fail = (message: string): Error => new ClusterOptionError(message)

/** Fills in the defaults and checks. Throws SCALE_CLUSTER_OPTION. */
export function resolveOptions(options: StartClusterOptions, cores: () => number = defaultWorkers): ResolvedOptions {
  checkKnown(options, KNOWN, 'startCluster()', fail)
  const { app, name, balance = 'round-robin', logLevel = 'info' } = options
  if (typeof app !== 'string' || app === '')
    throw fail(`option 'app' must be the path of the app's module, but is ${show(app)}`)
  if (name !== undefined) checkName(name)
  if (!BALANCES.includes(balance))
    throw fail(`option 'balance' must be one of ${BALANCES.join(', ')}, but is ${show(balance)}`)
  if (balance === 'reuse-port' && options.path !== undefined)
    throw fail(`option 'balance': 'reuse-port' needs a port, and '${options.path}' is a unix socket`)
  if (!LEVELS.includes(logLevel))
    throw fail(`option 'logLevel' must be one of ${LEVELS.join(', ')}, but is ${show(logLevel)}`)
  return {
    app,
    name,
    workers: parseWorkers(options.workers ?? 'auto', cores),
    jobWorkers: parseInteger(options.jobWorkers ?? 0, { name: 'jobWorkers', min: 0, max: MOST_WORKERS, fail }),
    jobNice:
      options.jobNice === 'idle'
        ? 'idle'
        : parseInteger(options.jobNice ?? 10, { name: 'jobNice', min: 0, max: 19, fail }),
    port: parseInteger(options.port ?? 3_000, { name: 'port', min: 0, max: 65_535, fail }),
    host: textOf(options.host ?? 'localhost', 'host', 'an address or a name'),
    path: options.path === undefined ? undefined : textOf(options.path, 'path', 'the path of a unix socket'),
    balance,
    sticky: resolveSticky(options),
    startTimeout: parseDuration(options.startTimeout ?? '30s', { name: 'startTimeout', fail }),
    drainTimeout: parseDuration(options.drainTimeout ?? '30s', { name: 'drainTimeout', fail }),
    hangTimeout: resolveHangTimeout(options),
    redLines: resolveRedLines(options),
    shed: options.shed ?? false,
    metrics: options.metrics ?? true,
    logLevel,
    requestLog: options.requestLog ?? false,
    admin: resolveAdmin(options),
    backlog: parseInteger(options.backlog ?? 4_096, { name: 'backlog', fail }),
    execArgv: options.execArgv ?? process.execArgv,
    env: options.env ?? {},
    cwd: options.cwd ?? workingDirectory(),
    runtimeDir: options.runtimeDir,
  }
}

/** Empty text is what a variable gives that is not set: to listen nowhere is never meant. */
function textOf(value: unknown, name: string, form: string): string {
  if (typeof value !== 'string' || value === '') throw fail(`option '${name}' must be ${form}, but is ${show(value)}`)
  return value
}

function resolveHangTimeout({ hangTimeout = '10s' }: StartClusterOptions): number {
  const ms = parseDuration(hangTimeout, { name: 'hangTimeout', min: 0, fail })
  if (ms > 0 && ms < SHORTEST_HANG)
    throw fail(`option 'hangTimeout' must be 0 (off) or at least ${SHORTEST_HANG} ms, but is ${show(hangTimeout)}`)
  return ms
}

function resolveSticky({ sticky, balance, path }: StartClusterOptions): Sticky | undefined {
  if (sticky === undefined) return undefined
  const parsed = parseSticky(String(sticky))
  if (balance !== undefined && balance !== 'round-robin')
    throw fail(`option 'sticky' needs balance 'round-robin': with '${balance}' the kernel chooses the worker`)
  if (parsed.by === 'ip' && path !== undefined)
    throw fail(`option 'sticky' by 'ip' needs a port: on a unix socket clients have no address`)
  return parsed
}

function resolveAdmin({ admin }: StartClusterOptions): AdminAddress | undefined {
  // Nobody asked for it: it must not be what keeps an app from starting.
  if (admin === undefined) return { host: '127.0.0.1', port: 0, optional: true }
  return admin === 'off' ? undefined : parseAdminAddress(admin)
}

function resolveRedLines({ redLines = {}, maxMemory }: StartClusterOptions): RedLineRules {
  checkKnown(redLines, ['cpu', 'memory', 'after'], "option 'redLines'", fail)
  const share = (name: 'cpu' | 'memory', fallback: number): number => {
    const value = redLines[name] ?? fallback
    if (typeof value !== 'number' || !(value > 0 && value <= 1))
      throw fail(
        `option 'redLines.${name}' must be a share above 0 and up to 1, such as ${fallback}, but is ${show(value)}`,
      )
    return value
  }
  return {
    cpu: share('cpu', 0.75),
    memory: share('memory', 0.85),
    maxMemory: maxMemory === undefined ? undefined : parseSize(maxMemory, { name: 'maxMemory', min: 1_048_576, fail }),
    after: parseDuration(redLines.after ?? '30s', { name: 'redLines.after', fail }),
  }
}

/** Reads `auto`, `4`, or `2..8`. */
export function parseWorkers(value: number | string, cores: () => number = defaultWorkers): WorkerRange {
  const text = String(value).trim()
  const range = /^(\d+|auto)(?:\.\.(\d+|auto))?$/.exec(text)
  if (!range) throw fail(`option 'workers' must be 'auto', a number or a range such as 2..8, but is ${show(value)}`)
  const count = (part: string): number =>
    part === 'auto' ? cores() : parseInteger(Number(part), { name: 'workers', min: 1, max: MOST_WORKERS, fail })
  const min = count(range[1] as string)
  const max = range[2] === undefined ? min : count(range[2])
  if (max < min) throw fail(`option 'workers': ${text} has its larger number first`)
  return { min, max, initial: min }
}

/** Names become file names. */
export function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    throw fail(`option 'name' must be 1 to 64 letters, digits, '.', '_' or '-', but is ${show(name)}`)
}
