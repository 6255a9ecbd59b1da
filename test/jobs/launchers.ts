import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, spawnGuarded, waitFor } from '@fastify-scale/dev-services'

const command = join(createRequire(import.meta.url).resolve('@fastify-scale/cluster/package.json'), '../dist/cli.js')
const run = promisify(execFile)

interface Slot {
  role: string
  state: string
  pid?: number
}

/** A host: a launcher with a runtime directory of its own. Two of one name are two machines of one service. */
export interface Host {
  url: string
  /** Gives a command and resolves with what it printed. */
  order(...words: string[]): Promise<string>
  /** The pids of the job processes that are ready. */
  jobProcesses(): Promise<number[]>
  output(): string
  stop(): Promise<void>
}

/** Starts a launcher with one web process and some job processes; resolves when all are ready. */
export async function startHost(options: {
  app: string
  name: string
  jobWorkers: number
  env: Record<string, string>
}): Promise<Host> {
  const { app, name, jobWorkers, env } = options
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-host-'))
  const target = ['--name', name, '--runtime-dir', dir]
  const child: ChildProcess = spawnGuarded(
    process.execPath,
    [command, 'start', app, '--workers', '1', '--job-workers', String(jobWorkers), ...target].concat([
      ...['--port', String(port), '--host', '127.0.0.1', '--start-timeout', '120s', '--drain-timeout', '10s'],
    ]),
    { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += String(chunk)))
  const gone = once(child, 'exit')

  const order = async (...words: string[]): Promise<string> =>
    (await run(process.execPath, [command, ...words, ...target])).stdout
  const slots = async (): Promise<Slot[]> => (JSON.parse(await order('status', '--json')) as { slots: Slot[] }).slots
  const ready = async (): Promise<Slot[]> => (await slots()).filter(({ state }) => state === 'ready')
  const host: Host = {
    url: `http://127.0.0.1:${port}`,
    order,
    jobProcesses: async () =>
      (await ready()).flatMap(({ role, pid }) => (role === 'jobs' && pid !== undefined ? [pid] : [])),
    output: () => text,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await gone
      rmSync(dir, { recursive: true, force: true })
    },
  }
  try {
    await waitFor(async () => (await ready()).length === 1 + jobWorkers, { timeout: 120_000, interval: 200 })
  } catch (error) {
    await host.stop()
    throw new Error(`the launcher did not come up: ${text.slice(-3_000)}`, { cause: error })
  }
  return host
}
