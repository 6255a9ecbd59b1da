#!/usr/bin/env node
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { setInEnvFile } from './env-file.ts'
import { DevServicesError } from './errors.ts'
import { spawnGuarded } from './guard.ts'
import { startServices, type ServiceName } from './services.ts'

const HELP = `Starts a real Redis, a real S3 server and a real PostgreSQL, those that the environment does not name already.

  fastify-scale-dev-services [options]                  prints their variables and runs until ^C
  fastify-scale-dev-services run [options] -- command   runs a command with the variables set

  --only redis,s3,postgres   only these
  --write-env <path>         puts the variables at the end of this file while the servers run
  -h, --help
`
const NAMES: readonly ServiceName[] = ['redis', 's3', 'postgres']
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

interface Arguments {
  only: readonly ServiceName[]
  envFile: string | undefined
  command: string[] | undefined
}

async function main(): Promise<number | NodeJS.Signals> {
  const { only, envFile, command } = parse(process.argv.slice(2))
  // A signal that comes before all is up ends this process, and so the guards end what runs by then.
  const aborted = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of SIGNALS) process.on(signal, resolve)
  })
  const since = performance.now()
  const starting = startServices({
    redis: only.includes('redis'),
    s3: only.includes('s3'),
    postgres: only.includes('postgres'),
    onProgress: (line: string) =>
      process.stderr.write(`${((performance.now() - since) / 1000).toFixed(1).padStart(5)} s  ${line}\n`),
  })
  const services = await Promise.race([starting, aborted])
  if (typeof services === 'string') {
    starting.catch(() => {})
    return services
  }
  const env = services.env as Record<string, string>
  let restore: (() => Promise<void>) | undefined
  try {
    if (envFile) restore = await setInEnvFile(envFile, env)
    if (command) return await run(command, env)
    for (const [name, value] of Object.entries(env)) process.stdout.write(`export ${name}=${shellQuoted(value)}\n`)
    process.stderr.write('Running. Press ^C to end.\n')
    const keepAlive = setInterval(() => {}, 1 << 30)
    await aborted
    clearInterval(keepAlive)
    return 0
  } finally {
    await restore?.()
    await services.stop()
  }
}

function run([name = '', ...args]: string[], env: Record<string, string>): Promise<number | NodeJS.Signals> {
  return new Promise((resolve, reject) => {
    // In a process group of its own: a signal reaches it once, from here, and not from the terminal as well.
    const child = spawnGuarded(name, args, { stdio: 'inherit', env: { ...process.env, ...env } })
    for (const signal of SIGNALS) process.on(signal, () => child.kill(signal))
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal ?? code ?? 1))
  })
}

function shellQuoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}

function parse(argv: string[]): Arguments {
  const end = argv.indexOf('--')
  const isRun = argv[0] === 'run'
  const command = isRun && end >= 0 ? argv.slice(end + 1) : undefined
  const own = argv.slice(isRun ? 1 : 0, end >= 0 ? end : undefined)
  const { values, positionals } = readOptions(own)
  if (values.help) {
    process.stdout.write(HELP)
    process.exit(0)
  }
  if (isRun && !command?.length) throw badOption('run needs a command: fastify-scale-dev-services run -- npm test')
  if (!isRun && end >= 0) throw badOption('a command needs `run` before it: fastify-scale-dev-services run -- npm test')
  if (positionals.length > 0) throw badOption(`unknown argument: ${positionals[0]}`)
  const only = values.only === undefined ? NAMES : values.only.split(',').map((name) => name.trim() as ServiceName)
  for (const name of only) {
    if (!NAMES.includes(name)) throw badOption(`--only takes ${NAMES.join(', ')}, separated by commas: ${name}`)
  }
  return { only, envFile: values['write-env'], command }
}

// Not `--env-file`: Node 20 takes that for itself, even after the script's name.
function readOptions(args: string[]): {
  values: { only?: string; 'write-env'?: string; help?: boolean }
  positionals: string[]
} {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: { only: { type: 'string' }, 'write-env': { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
  } catch (error) {
    throw badOption((error as Error).message.split('\n')[0] ?? '')
  }
}

function badOption(message: string): DevServicesError {
  return new DevServicesError('SCALE_DEV_SERVICES_BAD_OPTION', message)
}

// Who reads no more ends nothing: servers run until ^C.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
try {
  const outcome = await main()
  if (typeof outcome === 'number') process.exit(outcome)
  // Ends as the command or the signal did, so that a calling shell sees it.
  for (const signal of SIGNALS) process.removeAllListeners(signal)
  process.kill(process.pid, outcome)
  setTimeout(() => process.exit(128 + (constants.signals[outcome] ?? 0)), 1_000)
} catch (error) {
  const text = error instanceof DevServicesError ? error.message : String((error as Error).stack)
  process.stderr.write(`fastify-scale-dev-services: ${text}\n`)
  process.exit(1)
}
