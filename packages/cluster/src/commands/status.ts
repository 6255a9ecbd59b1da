import { pause, type CliCommand } from '@fastify-scale/kit'
import { formatStatus } from '../format-status.ts'
import type { LauncherStatus } from '../status.ts'
import { ask, noMore, print, TARGET_HELP, TARGET_OPTIONS } from './common.ts'

export const status: CliCommand = {
  summary: 'show the workers',
  usage: 'status [--watch] [--json] [--name <name>]',
  options: { ...TARGET_OPTIONS, watch: { type: 'boolean' }, json: { type: 'boolean' } },
  help: { ...TARGET_HELP, watch: 'again every second, until ^C', json: 'one object, for programs' },
  async run({ values, positionals }) {
    noMore(positionals)
    const show = async (before: string): Promise<void> => {
      const answer = (await ask(values, 'status', undefined, { timeout: 5_000 })) as LauncherStatus
      print(before + (values['json'] ? JSON.stringify(answer) : formatStatus(answer)))
    }
    if (!values['watch']) return show('')
    const hangUp = new AbortController()
    process.once('SIGINT', () => hangUp.abort())
    const keepAlive = setInterval(() => undefined, 60_000)
    try {
      while (!hangUp.signal.aborted) {
        await show(process.stdout.isTTY && !values['json'] ? '\x1b[2J\x1b[H' : '')
        await pause(1_000, hangUp.signal)
      }
    } finally {
      clearInterval(keepAlive)
    }
  },
}
