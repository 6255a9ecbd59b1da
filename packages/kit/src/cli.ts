import { type ParseArgsConfig, parseArgs } from 'node:util'
import { reasonOf } from './errors.ts'

/** A mistake of the operator's, or something they can mend: printed as one line, without a stack. */
export class CliError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode = 1) {
    super(message)
    this.name = 'CliError'
    this.exitCode = exitCode
  }
}

export interface CliCommand {
  /** One line for the list of commands. */
  summary: string
  /** How it is called, without the program's name: `keys rotate <file> [--at 24h]`. */
  usage: string
  /** Options of `util.parseArgs`. `--help` is always there. */
  options?: ParseArgsConfig['options']
  /** Help for each option, by name. */
  help?: Record<string, string>
  /** Does the work. Returns the exit code, default 0. */
  run(args: {
    values: Record<string, string | boolean | (string | boolean)[] | undefined>
    positionals: string[]
  }): Promise<number | void> | number | void
}

export interface CliProgram {
  /** The command's name on the PATH. */
  name: string
  /** One line of what it is. */
  summary: string
  version: string
  /** By name; a name may have two words (`keys new`). */
  commands: Record<string, CliCommand>
}

export interface CliStreams {
  out(text: string): void
  err(text: string): void
}

const stdStreams: CliStreams = {
  out: (text) => process.stdout.write(`${text}\n`),
  err: (text) => process.stderr.write(`${text}\n`),
}

/** Runs a command line and returns the exit code: 0 done, 1 could not be done, 2 called wrongly. Errors are one line. */
export async function runCli(
  program: CliProgram,
  argv: readonly string[],
  streams: CliStreams = stdStreams,
): Promise<number> {
  const { name } = program
  const first = argv[0]
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    streams.out(usageOf(program))
    return first === undefined ? 2 : 0
  }
  if (first === '--version' || first === '-v') {
    streams.out(program.version)
    return 0
  }
  const two = `${first} ${argv[1]}`
  const key = Object.hasOwn(program.commands, two) ? two : first
  const command = Object.hasOwn(program.commands, key) ? program.commands[key] : undefined
  if (!command) {
    streams.err(`${name}: unknown command '${first}'; try '${name} --help'`)
    return 2
  }
  const rest = argv.slice(key === two ? 2 : 1)
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({
      args: rest,
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      strict: true,
    })
  } catch (error) {
    streams.err(`${name} ${key}: ${oneLine(error)}; try '${name} ${key} --help'`)
    return 2
  }
  if (parsed.values['help']) {
    streams.out(helpOf(program, command))
    return 0
  }
  try {
    return (await command.run({ values: parsed.values, positionals: parsed.positionals })) ?? 0
  } catch (error) {
    streams.err(`${name} ${key}: ${oneLine(error)}`)
    return error instanceof CliError ? error.exitCode : 1
  }
}

/** The first line of an error's message, with its code where it has one that the message does not say. */
export function oneLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = (error as { code?: unknown }).code
  const [line = error.name] = reasonOf(error).split('\n')
  return typeof code === 'string' && !line.includes(code) ? `${line} (${code})` : line
}

function usageOf(program: CliProgram): string {
  const width = Math.max(...Object.values(program.commands).map((command) => command.usage.length))
  const rows = Object.values(program.commands).map(
    (command) => `  ${program.name} ${command.usage.padEnd(width)}  ${command.summary}`,
  )
  return `${program.name}: ${program.summary}\n\n${rows.join('\n')}\n\n'${program.name} <command> --help' tells more.`
}

function helpOf(program: CliProgram, command: CliCommand): string {
  const rows = Object.keys(command.options ?? {}).map((option) =>
    `  --${option.padEnd(18)} ${command.help?.[option] ?? ''}`.trimEnd(),
  )
  return `${program.name} ${command.usage}\n${command.summary}${rows.length ? `\n\n${rows.join('\n')}` : ''}`
}
