import { CliError, type CliCommand } from '@fastify-scale/kit'
import type { ReloadProgress, ReloadResult } from '../primary/types.ts'
import { plural, took } from '../report.ts'
import { ask, noMore, print, TARGET_HELP, TARGET_OPTIONS } from './common.ts'

export const reload: CliCommand = {
  summary: 'replace all workers with new ones, without losing a request',
  usage: 'reload [--name <name>]',
  options: TARGET_OPTIONS,
  help: TARGET_HELP,
  async run({ values, positionals }) {
    noMore(positionals)
    const result = (await ask(values, 'reload', undefined, {
      onNews: (news) => show(news as ReloadProgress | null),
    })) as ReloadResult
    if (!result.ok) throw new CliError(`given up, what served before still serves: ${result.reason}`)
    const forced = result.killed > 0 ? `, ${plural(result.killed, 'worker')} killed at the deadline` : ''
    print(`reloaded ${plural(result.replaced, 'worker')} in ${took(result.ms)}${forced}`)
  },
}

function show(progress: ReloadProgress | null): void {
  if (!progress || !process.stdout.isTTY) return
  const { done, total, phase, slot } = progress
  print(
    `  ${done + 1}/${total} slot ${slot}: ${phase === 'starting' ? 'starting the new worker' : 'draining the old worker'}`,
  )
}
