import { CliError, type CliCommand } from '@fastify-scale/kit'
import { plural } from '../report.ts'
import { ask, noMore, print, TARGET_HELP, TARGET_OPTIONS } from './common.ts'

export const scale: CliCommand = {
  summary: 'set the number of workers',
  usage: 'scale <N|+N|-N> [--name <name>]',
  options: TARGET_OPTIONS,
  help: TARGET_HELP,
  async run({ values, positionals }) {
    noMore(positionals, 1)
    const [to] = positionals
    if (to === undefined || !/^[+-]?\d+$/.test(to))
      throw new CliError('to how many? fastify-scale scale 4, +1 or -- -1', 2)
    print(plural((await ask(values, 'scale', to)) as number, 'worker'))
  },
}
