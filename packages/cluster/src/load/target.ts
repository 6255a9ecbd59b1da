import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CliError, pause } from '@fastify-scale/kit'
import { askLauncher } from '../control/client.ts'
import { socketPath } from '../control/runtime-dir.ts'
import type { LauncherStatus } from '../status.ts'

/** An app under a launcher of its own, for the time of a measurement. */
export interface Target {
  url: string
  look(): Promise<LauncherStatus>
  stop(): Promise<void>
}

const NAME = 'load'
/** ms within which all workers must be ready. */
const READY_WITHIN = 60_000
/** One that has failed so often is not waited for. */
const MOST_RESTARTS = 2
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Starts the app with so many workers on a free port; resolves when all of them are ready. A signal that ends this process
 * ends the launcher first.
 */
export async function startTarget(app: string, workers: number): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-load-'))
  const cli = fileURLToPath(new URL('../cli.js', import.meta.url))
  const args = [
    'start',
    app,
    '--workers',
    String(workers),
    '--port',
    '0',
    '--host',
    '127.0.0.1',
    '--name',
    NAME,
    '--runtime-dir',
    dir,
    '--log-level',
    'info',
  ]
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = async (): Promise<void> => {
    if (child.exitCode === null) child.kill('SIGTERM')
    await gone
    for (const signal of SIGNALS) process.off(signal, onSignal)
    rmSync(dir, { recursive: true, force: true })
  }
  function onSignal(signal: (typeof SIGNALS)[number]): void {
    void stop().then(() => process.exit(128 + constants.signals[signal]))
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  try {
    const url = await addressOf(child)
    const look = async (): Promise<LauncherStatus> =>
      (await askLauncher(socketPath(dir, NAME), 'status', undefined, { timeout: 2_000 })) as LauncherStatus
    await allReady(look, workers)
    return { url, look, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function allReady(look: Target['look'], workers: number): Promise<void> {
  const began = performance.now()
  for (;;) {
    const { slots } = await look()
    const ready = slots.filter(({ state }) => state === 'ready').length
    if (ready >= workers) return
    const failed = slots.find(({ state, restarts }) => state !== 'ready' && restarts >= MOST_RESTARTS)
    if (failed || performance.now() - began > READY_WITHIN)
      throw new CliError(
        `only ${ready} of ${workers} workers became ready${failed?.lastExit ? `: ${failed.lastExit.reason}` : ''}`,
      )
    await pause(100)
  }
}

/** The launcher says its addresses in a line of its log when the app answers; lines of the app itself are among them. */
function addressOf(child: ChildProcess): Promise<string> {
  let rest = ''
  let last = ''
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n')
      rest = lines.pop() as string
      for (const line of lines) {
        const [address] = addressesIn(line)
        if (address !== undefined) resolve(address)
      }
    })
    child.stderr?.on('data', (data: Buffer) => (last = (last + data.toString()).slice(-20_000)))
    child.once('exit', () => reject(new CliError(last.trim().split('\n').at(-1) || 'the app did not start')))
  })
}

function addressesIn(line: string): string[] {
  try {
    const { launcher, addresses } = JSON.parse(line) as { launcher?: unknown; addresses?: string[] }
    return launcher === NAME && Array.isArray(addresses) ? addresses : []
  } catch {
    return []
  }
}
