import type { CliCommand } from '@fastify-scale/kit'
import { ask, integer, noMore, TARGET_HELP, TARGET_OPTIONS } from './common.ts'

export const logs: CliCommand = {
  summary: "follow the log lines of all workers and the launcher's own",
  usage: 'logs [--last <N>] [--no-follow] [--name <name>]',
  options: { ...TARGET_OPTIONS, last: { type: 'string' }, 'no-follow': { type: 'boolean' } },
  help: { ...TARGET_HELP, last: "begin with the launcher's last N lines; default 20", 'no-follow': 'end after these' },
  async run({ values, positionals }) {
    noMore(positionals)
    const hangUp = new AbortController()
    process.once('SIGINT', () => hangUp.abort())
    const argument = { last: integer(values, 'last') ?? 20, follow: values['no-follow'] !== true }
    await ask(values, 'logs', argument, { onNews: (line) => process.stdout.write(String(line)), signal: hangUp.signal })
  },
}
