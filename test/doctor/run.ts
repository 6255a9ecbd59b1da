import { execFile, type ExecFileException } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'vitest'

export const run = promisify(execFile)
const cli = new URL('../../packages/cluster/dist/cli.js', import.meta.url).pathname

export interface Found {
  findings: { kind: string; message: string; at?: string; candidates?: string[] }[]
  notCompared: string[]
  refused: string[]
  requests: number
  workers: number
}

/** Runs `fastify-scale doctor`. */
export async function doctor(
  app: string | undefined,
  args: string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; out: string; err: string }> {
  return run(process.execPath, [cli, 'doctor', ...(app === undefined ? [] : [app]), ...args], {
    env: { ...process.env, ...env },
    timeout: 110_000,
  }).then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    (error: ExecFileException & { stdout: string; stderr: string }) => ({
      code: Number(error.code),
      out: error.stdout,
      err: error.stderr,
    }),
  )
}

/** What it finds; nothing else must be said. */
export async function findingsOf(app: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Found> {
  const { out, err } = await doctor(app, [...args, '--json'], env)
  expect(err).toBe('')
  return JSON.parse(out) as Found
}
