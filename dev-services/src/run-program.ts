import { DevServicesError } from './errors.ts'
import { spawnGuarded, type GuardedOptions } from './guard.ts'

/**
 * Runs a program to its end, which comes at the latest with the end of this process, and gives what it wrote.
 * @throws SCALE_DEV_SERVICES_START_FAILED with `stderr`, when it fails
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: Omit<GuardedOptions, 'stdio'> = {},
): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawnGuarded(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) return resolve({ stdout, stderr })
      const message = `${program} ended with ${signal ?? code}: ${stderr.trim()}`
      reject(Object.assign(new DevServicesError('SCALE_DEV_SERVICES_START_FAILED', message), { stderr }))
    })
  })
}
