import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** One round of a script contender: a fresh process that prints its measurements as one JSON line, the last it prints. */
export async function scriptRound(file, args = [], { env = {}, nodeArgs = [] } = {}) {
  const { stdout } = await run(process.execPath, [...nodeArgs, file, ...args], {
    env: { ...process.env, NODE_ENV: 'production', ...env },
    maxBuffer: 16e6,
  })
  return JSON.parse(stdout.trim().split('\n').at(-1))
}
