import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { processTree } from '@fastify-scale/cluster/proc'

/** What to end, by force and at once, if the bench itself ends early: ^C leaves no server and no daemon behind. */
const guarded = new Set()

process.on('exit', () => {
  for (const pid of guarded) killTree(pid)
})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
])
  process.on(signal, () => process.exit(code))

/** Ends this process and all below it if the bench ends first. Returns what takes that back. */
export function guard(pid) {
  guarded.add(pid)
  return () => guarded.delete(pid)
}

/** SIGKILL to a process and all below it; those that are gone already are none. */
export function killTree(pid) {
  for (const one of processTree(pid)) {
    try {
      process.kill(one, 'SIGKILL')
    } catch {
      // It was gone already.
    }
  }
}

/** Starts a process that says on stdout how it is. */
export function startProcess(command, { env, cwd }) {
  const child = spawn(command[0], command.slice(1), { env, cwd, stdio: ['ignore', 'pipe', 'inherit'] })
  const gone = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  return {
    pid: child.pid,
    child,
    gone,
    /** Resolves with the next line that matches, or the last of so many; rejects where the process ends first. */
    said: (pattern, times = 1) =>
      new Promise((resolve, reject) => {
        const look = (line) => {
          if (!pattern.test(line) || --times > 0) return
          lines.off('line', look)
          resolve(line)
        }
        lines.on('line', look)
        void gone.then(([code]) =>
          reject(new Error(`${command.join(' ')} ended with ${code} and did not say ${pattern}`)),
        )
      }),
    /** SIGTERM, and SIGKILL to all of it where that does not end it within 10 s. */
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      const timer = setTimeout(() => killTree(child.pid), 10_000)
      await gone
      clearTimeout(timer)
    },
  }
}

/** Runs a command to its end; throws what it wrote where that was not 0. */
export async function runCommand(command, { env, cwd } = {}) {
  const child = spawn(command[0], command.slice(1), { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${output}`)
  return output
}
