import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export interface Run {
  child: ChildProcess
  stdout: string
  stderr: string
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>
  /** How it ended and what it said, to see both when a test fails. */
  outcome(): Promise<{ code: number | NodeJS.Signals; stderr: string }>
}

/** Runs a fixture, or the command line, as a process of its own that does not outlive the test. */
export function runNode(script: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): Run {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, [path, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const run: Run = {
    child,
    stdout: '',
    stderr: '',
    ended: new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code ?? -1))),
    outcome: async () => ({ code: await run.ended, stderr: run.stderr }),
  }
  child.stdout.on('data', (chunk) => (run.stdout += chunk))
  child.stderr.on('data', (chunk) => (run.stderr += chunk))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await run.ended
  })
  return run
}

export const CLI = '../dist/cli.js'
