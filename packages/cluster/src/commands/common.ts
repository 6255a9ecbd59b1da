import { CliError } from '@fastify-scale/kit'
import { readdirSync } from 'node:fs'
import { askLauncher, type AskOptions } from '../control/client.ts'
import { runtimeDir, socketPath } from '../control/runtime-dir.ts'
import { checkName } from '../options.ts'

/** What `util.parseArgs` found. */
export type Values = Record<string, string | boolean | (string | boolean)[] | undefined>

/** Options of every command that talks to a running launcher. */
export const TARGET_OPTIONS = { name: { type: 'string' }, 'runtime-dir': { type: 'string' } } as const
export const TARGET_HELP: Record<string, string> = {
  name: 'which launcher; not needed where one runs',
  'runtime-dir': "directory of the launchers' control sockets",
}

/** The control socket that the options mean: the named launcher's, or that of the only one there is. */
export function targetSocket(values: Values): string {
  const dir = runtimeDir(text(values, 'runtime-dir'))
  const name = text(values, 'name')
  if (name !== undefined) {
    checkName(name)
    return socketPath(dir, name)
  }
  const names = readdirSync(dir).flatMap((file) => (file.endsWith('.sock') ? [file.slice(0, -'.sock'.length)] : []))
  if (names.length === 1) return socketPath(dir, names[0] as string)
  if (names.length === 0) throw new CliError('no launcher runs here; start one with: fastify-scale start <app>')
  throw new CliError(`several launchers run here: say which with --name (${names.sort().join(', ')})`)
}

export function ask(values: Values, order: string, argument?: unknown, options?: AskOptions): Promise<unknown> {
  return askLauncher(targetSocket(values), order, argument, options)
}

/** The value of a string option. */
export function text(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

/** A whole number given as an option; `orElse` tells what else may stand there. */
export function integer(values: Values, name: string, orElse = ''): number | undefined {
  const value = text(values, name)
  if (value === undefined) return undefined
  if (!/^\d+$/.test(value)) throw new CliError(`--${name} must be a whole number${orElse}, but is '${value}'`, 2)
  return Number(value)
}

/** Refuses arguments that a command does not take. */
export function noMore(positionals: string[], allowed = 0): void {
  if (positionals.length > allowed) throw new CliError(`unexpected argument '${positionals[allowed]}'`, 2)
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
