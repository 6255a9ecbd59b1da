import type { CliCommand } from '@fastify-scale/kit'
import { ask, noMore, print, TARGET_HELP, TARGET_OPTIONS } from './common.ts'

export const stop: CliCommand = {
  summary: 'answer what is in flight, then end the launcher and its workers',
  usage: 'stop [--name <name>]',
  options: TARGET_OPTIONS,
  help: TARGET_HELP,
  async run({ values, positionals }) {
    noMore(positionals)
    await ask(values, 'stop')
    print('stopped')
  },
}
