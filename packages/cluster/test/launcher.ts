import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, spawnGuarded, waitFor } from './helpers.ts'
import { askLauncher } from '../src/control/client.ts'
import type { LauncherStatus } from '../src/index.ts'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
export const FIXTURES: string = fileURLToPath(new URL('./fixtures/', import.meta.url))
const CLIENT = fileURLToPath(new URL('./clients/client.mjs', import.meta.url))

export interface Ran {
  code: number | null
  signal: string | null
  out: string
  err: string
}

/** A directory for control sockets, of this test alone. */
export function makeRuntimeDir(): { dir: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), 'fs-run-'))
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/** Runs one command of the command line to its end. */
export async function cli(
  args: string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; node?: string[]; uid?: number; gid?: number } = {},
): Promise<Ran> {
  const [command = process.execPath, ...before] = options.node ?? [process.execPath]
  const child = spawn(command, [...before, CLI, ...args], {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    ...(options.uid !== undefined && { uid: options.uid, gid: options.gid }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return collect(child)
}

export async function collect(child: ChildProcess): Promise<Ran> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk) => (out += chunk))
  child.stderr?.on('data', (chunk) => (err += chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, out, err }
}

export interface Launcher {
  readonly pid: number
  readonly port: number
  readonly url: string
  readonly name: string
  readonly runtimeDir: string
  readonly child: ChildProcess
  /** What it wrote so far. */
  readonly output: { out: string; err: string }
  /** Lines of the launcher's log whose text matches. */
  said(pattern: RegExp): string[]
  cli(...args: string[]): Promise<Ran>
  /** Gives an order on the control socket, without a process of its own. */
  ask(order: string, argument?: unknown): Promise<unknown>
  status(): Promise<LauncherStatus>
  /** Ends it with SIGTERM where it still runs; resolves with its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Resolves with its exit code when it has ended. */
  readonly ended: Promise<number | null>
}

/** Starts a launcher and waits until all its workers are ready. */
export async function startLauncher(
  options: {
    app?: string
    workers?: string
    args?: string[]
    env?: NodeJS.ProcessEnv
    cwd?: string
    /** How to call node, for other versions. */
    node?: string[]
    name?: string
    runtimeDir?: string
    /** Resolve at once. */
    dontWait?: boolean
  } = {},
): Promise<Launcher> {
  const {
    app = join(FIXTURES, 'app.mjs'),
    workers = '2',
    args = [],
    env,
    cwd,
    node = [process.execPath],
    dontWait,
  } = options
  const port = await freePort()
  const runtime = options.runtimeDir ? { dir: options.runtimeDir, remove: () => undefined } : makeRuntimeDir()
  const name = options.name ?? `test-${port}`
  const [command = process.execPath, ...before] = node
  // Ends with this process, however that ends.
  const child = spawnGuarded(
    command,
    [
      ...before,
      CLI,
      'start',
      app,
      '-w',
      workers,
      '-p',
      String(port),
      '--host',
      '127.0.0.1',
      '--name',
      name,
      '--runtime-dir',
      runtime.dir,
      ...args,
    ],
    { env: { ...process.env, ...env }, cwd, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const output = { out: '', err: '' }
  child.stdout?.on('data', (chunk) => (output.out += chunk))
  child.stderr?.on('data', (chunk) => (output.err += chunk))
  const ended = once(child, 'close').then(([code]) => {
    runtime.remove()
    return code as number | null
  })
  const launcher: Launcher = {
    pid: child.pid as number,
    port,
    url: `http://127.0.0.1:${port}`,
    name,
    runtimeDir: runtime.dir,
    child,
    output,
    said: (pattern) => output.out.split('\n').filter((line) => line.includes('"launcher"') && pattern.test(line)),
    cli: (command, ...rest) => cli([command as string, ...rest, '--name', name, '--runtime-dir', runtime.dir]),
    ask: (order, argument) => askLauncher(join(runtime.dir, `${name}.sock`), order, argument),
    ended,
    status: async () => (await launcher.ask('status')) as LauncherStatus,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return ended
    },
  }
  if (dontWait) return launcher
  const count = Number.parseInt(workers, 10)
  const ready = async (): Promise<boolean> =>
    (await launcher.status()).slots.filter(({ state }) => state === 'ready').length >= count
  await waitFor(async () => child.exitCode !== null || (await ready()), {
    timeout: 60_000,
    message: `${count} workers ready`,
  })
  if (child.exitCode !== null) throw new TypeError(`the launcher ended: ${output.err}`)
  return launcher
}

/**
 * ms without an answer that make a hang: 5 s, as promised, on a machine that does nothing else; what hangs does so for
 * ever, and is found on a busy one as well.
 */
export const HANG: number = process.env.SOAK === '1' ? 5_000 : 30_000

export interface ClientResult {
  requests: number
  failures: number
  hangs: number
  reconnects: number
  pids: number
  ms: number
  errors: Record<string, number>
}

/** Runs the load client of test/clients to its end. */
export async function runClient(
  mode: string,
  port: number,
  requests: number,
  connections: number,
  pause = 0,
  env?: NodeJS.ProcessEnv,
): Promise<ClientResult> {
  const child = spawn(
    process.execPath,
    [CLIENT, mode, String(port), String(requests), String(connections), String(pause)],
    {
      env: { ...process.env, HANG: String(HANG), ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const { out } = await collect(child)
  return JSON.parse(out) as ClientResult
}
