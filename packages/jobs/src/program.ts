import { CliError, type CliProgram, type CliStreams, parseInteger } from '@fastify-scale/kit'
import { NotFoundError } from './errors.ts'
import { type Tool, openTool } from './tool.ts'
import type { DeadLetter } from './types.ts'

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>

const OPTIONS = { redis: { type: 'string' }, prefix: { type: 'string' } } as const
const HELP = {
  redis: "where Redis is (default 'redis://localhost:6379')",
  prefix: "the plugin's option 'prefix' (default 'jobs')",
}

/** The command `fastify-scale-jobs`. */
export function createProgram(streams: CliStreams, version: string): CliProgram {
  return {
    name: 'fastify-scale-jobs',
    summary: 'shows queues and dead letters of scaleJobs, and runs dead letters again',
    version,
    commands: {
      queues: {
        summary: 'counts the jobs of every queue',
        usage: 'queues [--redis url] [--prefix jobs]',
        options: OPTIONS,
        help: HELP,
        run: ({ values }) =>
          withTool(values, async (tool) => {
            for (const queue of await tool.queues()) {
              const counts = Object.entries(await tool.reader.counts(queue))
              streams.out(`${queue}: ${counts.map(([state, count]) => `${count} ${state}`).join(', ')}`)
            }
          }),
      },
      dead: {
        summary: 'lists dead letters, the last one first',
        usage: 'dead [queue] [--limit 20] [--json] [--redis url] [--prefix jobs]',
        options: { ...OPTIONS, limit: { type: 'string' }, json: { type: 'boolean' } },
        help: {
          ...HELP,
          limit: 'how many of each queue (default 20)',
          json: 'one JSON object a line, with data and stack',
        },
        run: ({ values, positionals }) =>
          withTool(values, async (tool) => {
            const limit = parseInteger(Number(values['limit'] ?? 20), { name: '--limit', fail: wrong })
            const queues = positionals.length > 0 ? positionals : await tool.queues()
            for (const queue of queues)
              for (const letter of await tool.reader.deadLetters(queue, limit))
                streams.out(values['json'] ? JSON.stringify(letter) : toLine(letter))
          }),
      },
      retry: {
        summary: 'runs dead letters again, with all their attempts',
        usage: 'retry <id>… | retry --all <queue> [--redis url] [--prefix jobs]',
        options: { ...OPTIONS, all: { type: 'string' } },
        help: { ...HELP, all: 'every dead letter of this queue' },
        run: ({ values, positionals }) =>
          withTool(values, async (tool) => {
            const { all } = values
            if ((typeof all === 'string') === positionals.length > 0)
              throw wrong('say which jobs: their ids, or --all and a queue')
            let retried = 0
            if (typeof all === 'string') {
              // All ids first: one that fails again meanwhile is not taken a second time.
              for (const id of await tool.deadLetterIds(all)) if (await retryIfThere(tool, id)) retried++
            } else {
              for (const id of positionals) {
                await tool.reader.retry(id)
                retried++
              }
            }
            streams.out(`${retried} ${retried === 1 ? 'job waits' : 'jobs wait'} to run again`)
          }),
      },
    },
  }
}

const wrong = (message: string): Error => new CliError(message, 2)

async function withTool(values: Values, work: (tool: Tool) => Promise<void>): Promise<void> {
  const tool = await openTool({
    redis: String(values['redis'] ?? 'redis://localhost:6379'),
    prefix: String(values['prefix'] ?? 'jobs'),
  })
  try {
    await work(tool)
  } finally {
    await tool.close()
  }
}

/** False where somebody else has run it again, or it is not kept any more. */
async function retryIfThere(tool: Tool, id: string): Promise<boolean> {
  try {
    await tool.reader.retry(id)
    return true
  } catch (error) {
    if (error instanceof NotFoundError) return false
    throw error
  }
}

function toLine({ id, name, attempts, error, finishedAt }: DeadLetter): string {
  const when = finishedAt === undefined ? '' : ` ${new Date(finishedAt).toISOString()}`
  return `${id} ${name}${when} after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}: ${error?.split('\n')[0] ?? ''}`
}
