#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { runCli } from '@fastify-scale/kit'
import { doctor } from './commands/doctor.ts'
import { load } from './commands/load.ts'
import { logs } from './commands/logs.ts'
import { nginx } from './commands/nginx.ts'
import { reload } from './commands/reload.ts'
import { scale } from './commands/scale.ts'
import { start } from './commands/start.ts'
import { status } from './commands/status.ts'
import { stop } from './commands/stop.ts'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

const [command] = process.argv.slice(2)
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' || command === 'start') throw error
  // Nobody reads on, as in a pipe to head: those that only show something are done, others do their work to its end.
  if (command === 'logs' || command === 'status') process.exit(0)
})

const code = await runCli(
  {
    name: 'fastify-scale',
    summary: 'runs a Fastify app on every core: zero-loss reload, scaling, respawn',
    version,
    commands: { start, reload, scale, status, stop, logs, doctor, load, nginx },
  },
  afterDashes(process.argv.slice(2)),
)
process.exit(code)

/** `scale -1` means a number, which `util.parseArgs` takes for an option unless it comes after `--`. */
function afterDashes(argv: string[]): string[] {
  const negative = (arg: string): boolean => /^-\d+$/.test(arg)
  if (argv[0] !== 'scale' || argv.includes('--') || !argv.some(negative)) return argv
  return [...argv.filter((arg) => !negative(arg)), '--', ...argv.filter(negative)]
}
