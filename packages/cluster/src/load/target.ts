import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CliError } from '@fastify-scale/kit'
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

/** Starts the app with so many workers on a free port; resolves when all of them are ready. */
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
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const url = await addressOf(child)
    const look = async (): Promise<LauncherStatus> =>
      (await askLauncher(socketPath(dir, NAME), 'status', undefined, { timeout: 2_000 })) as LauncherStatus
    while ((await look()).slots.filter(({ state }) => state === 'ready').length < workers)
      await new Promise((resolve) => setTimeout(resolve, 100))
    return { url, look, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The launcher prints its address when the app answers. */
function addressOf(child: ChildProcess): Promise<string> {
  let text = ''
  return new Promise((resolve, reject) => {
    const read = (data: Buffer): void => {
      text = (text + data.toString()).slice(-20_000)
      const match = /ready on (https?:\/\/[^\s"]+)/.exec(text)
      if (match?.[1]) resolve(match[1])
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('exit', () => reject(new CliError(text.trim().split('\n').at(-1) ?? 'the app did not start')))
  })
}
