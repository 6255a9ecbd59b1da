import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, killTree, spawnGuarded, waitFor } from '../helpers.ts'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const APP = fileURLToPath(new URL('./app.mjs', import.meta.url))

/** One line that the app wrote. */
export interface TraceEvent {
  event: 'start' | 'alive' | 'stop' | 'load'
  pid: number
  fencing: number
  /** ms of the monotonic clock that all processes share. */
  at: number
}

export interface Launched {
  pid: number
  url: string
  admin: string
  output(): string
  /** A request to any worker, on a connection of its own. */
  get<T = Record<string, unknown>>(path: string): Promise<T>
  post<T = Record<string, unknown>>(path: string, body?: unknown): Promise<T>
  /** The pids of the workers that are ready, by slot. */
  pids(): Promise<number[]>
  trace(): TraceEvent[]
  /** Ends it by SIGTERM; the trace can still be read. */
  stop(): Promise<void>
  /** Ends the launcher and all its workers by SIGKILL, as when the machine goes. */
  vanish(): Promise<void>
}

export interface LaunchOptions {
  workers?: number
  env?: Record<string, string>
  name?: string
  args?: string[]
  /** Where the app writes its trace. Default: a file of this launcher's own. */
  tracePath?: string
}

/** Starts a launcher of its own for the test, with the app of this folder; it is gone when the test's process is. */
export async function launch(options: LaunchOptions = {}): Promise<Launched> {
  const { workers = 3, env = {}, name = 'traced', args = [] } = options
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-'))
  const tracePath = options.tracePath ?? join(dir, 'trace')
  const [port, adminPort] = [await freePort(), await freePort()]
  const child = spawnGuarded(
    process.execPath,
    [CLI, 'start', APP, '--workers', String(workers), '--port', String(port), '--host', '127.0.0.1', '--name', name]
      .concat(['--admin', String(adminPort), '--runtime-dir', dir, '--log-level', 'warn'])
      .concat(args),
    { env: { ...process.env, NODE_ENV: 'test', TRACE: tracePath, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += String(chunk)))
  let last: string | undefined
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = `http://127.0.0.1:${port}`

  async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { connection: 'close', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    })
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    const text = await response.text()
    return (text === '' ? undefined : JSON.parse(text)) as T
  }
  const launched: Launched = {
    pid: child.pid as number,
    url,
    admin: `http://127.0.0.1:${adminPort}`,
    output: () => output,
    get: (path) => request('GET', path),
    post: (path, body) => request('POST', path, body),
    async pids() {
      const response = await fetch(`${launched.admin}/status`)
      const { slots } = (await response.json()) as { slots: { pid: number; state: string }[] }
      return slots.filter((slot) => slot.state === 'ready').map((slot) => slot.pid)
    },
    trace() {
      if (last === undefined && !existsSync(tracePath)) return []
      return (last ?? readFileSync(tracePath, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((line) => {
          const [event, pid, fencing, at] = line.split(' ')
          return { event: event as TraceEvent['event'], pid: Number(pid), fencing: Number(fencing), at: Number(at) }
        })
    },
    async vanish() {
      await killTree(child.pid as number)
      await exited
    },
    async stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
      await exited
      clearTimeout(timer)
      if (last !== undefined) return
      last = existsSync(tracePath) ? readFileSync(tracePath, 'utf8') : ''
      rmSync(dir, { recursive: true, force: true })
    },
  }
  try {
    await waitFor(async () => (await launched.pids()).length === workers, { timeout: 20_000 })
  } catch (error) {
    await launched.stop()
    throw new Error(`the launcher did not come up: ${output}`, { cause: error })
  }
  return launched
}

/** Where the singleton ran: one entry for each start, from its first sign of life to its last. */
export function tenures(trace: TraceEvent[]): { pid: number; fencing: number; from: number; to: number }[] {
  const found = new Map<number, { pid: number; fencing: number; from: number; to: number }>()
  for (const { event, pid, fencing, at } of trace) {
    if (event === 'load') continue
    const tenure = found.get(fencing)
    if (!tenure) found.set(fencing, { pid, fencing, from: at, to: at })
    else if (tenure.pid !== pid) throw new Error(`fencing number ${fencing} was given to ${tenure.pid} and to ${pid}`)
    else tenure.to = Math.max(tenure.to, at)
  }
  return [...found.values()].sort((a, b) => a.from - b.from)
}
