import { writeFileSync } from 'node:fs'
import { type CliCommand, CliError } from '@fastify-scale/kit'
import { defaultWorkers } from '../limits/limits.ts'
import { driveLevel, loadAutocannon } from '../load/drive.ts'
import type { Level } from '../load/measure.ts'
import { pageOf } from '../load/page.ts'
import { sentencesOf, tableOf } from '../load/report.ts'
import { type Target, startTarget } from '../load/target.ts'
import { resolveApp } from '../primary/app-path.ts'
import { noMore, print, text } from './common.ts'

export const load: CliCommand = {
  summary: 'measure an app at rising load and with 1 to N workers',
  usage: 'load <app|url> [--path /x] [--workers 1,2] [--connections 1,8,64] [--seconds 5] [--json file] [--html file]',
  options: {
    path: { type: 'string' },
    header: { type: 'string', multiple: true, short: 'H' },
    workers: { type: 'string', short: 'w' },
    connections: { type: 'string', short: 'c' },
    seconds: { type: 'string', short: 'd' },
    json: { type: 'string' },
    html: { type: 'string' },
  },
  help: {
    path: "what to request; default: the URL's own path, of an app /",
    header: "a header, 'name: value'; may be given several times",
    workers: 'numbers of workers, for an app; default 1 up to the number of cores, doubling',
    connections: 'levels of load; default 1,8,32,128',
    seconds: 'length of a level; default 5',
    json: 'write the levels to this file',
    html: 'write a page with plots to this file',
  },
  async run({ values, positionals }) {
    noMore(positionals, 1)
    const [what] = positionals
    if (what === undefined) throw new CliError("of what? fastify-scale load <path of the app's module, or a URL>", 2)
    const connections = numbers(text(values, 'connections') ?? '1,8,32,128', 'connections', 10_000)
    const seconds = numbers(text(values, 'seconds') ?? '5', 'seconds', 3_600)[0] as number
    const headers = headersOf(values['header'])
    const url = URL.canParse(what) && /^https?:/.test(what) ? new URL(what) : undefined
    const path = text(values, 'path') ?? (url ? `${url.pathname}${url.search}` : '/')
    const autocannon = await loadAutocannon()
    const levels: Level[] = []
    const run = async (to: URL, target?: Target, workers?: number): Promise<void> => {
      for (const count of connections) {
        progress(
          `${workers === undefined ? '' : `${workers} ${workers === 1 ? 'worker' : 'workers'}, `}${count} connections, ${seconds} s`,
        )
        levels.push(
          await driveLevel(autocannon, {
            url: to.href,
            headers,
            connections: count,
            seconds,
            workers,
            look: target?.look,
          }),
        )
      }
    }

    if (url) await run(values['path'] === undefined ? url : new URL(path, url))
    else {
      const app = resolveApp(what, process.cwd())
      for (const workers of numbers(text(values, 'workers') ?? doubling(defaultWorkers()), 'workers', 1_024)) {
        const target = await startTarget(app, workers)
        try {
          await run(new URL(path, target.url), target, workers)
        } finally {
          await target.stop()
        }
      }
    }

    print(tableOf(levels))
    const [json, html] = [text(values, 'json'), text(values, 'html')]
    if (json)
      writeFileSync(
        json,
        `${JSON.stringify({ target: what, path, at: new Date().toISOString(), levels, says: sentencesOf(levels) }, null, 2)}\n`,
      )
    if (html) writeFileSync(html, pageOf(`${what} ${path}`, new Date().toISOString(), levels))
    return levels.some(({ failed }) => failed > 0) ? 1 : 0
  },
}

/** On a terminal, what is being measured now. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`)
}

function numbers(value: string, name: string, most: number): number[] {
  const list = value.split(',').map(Number)
  if (!list.every((one) => Number.isInteger(one) && one >= 1 && one <= most))
    throw new CliError(`--${name} must be whole numbers from 1 to ${most}, separated by commas, but is '${value}'`, 2)
  return list
}

function headersOf(given: unknown): Record<string, string> {
  const list = Array.isArray(given) ? given.map(String) : []
  return Object.fromEntries(
    list.map((header) => {
      const at = header.indexOf(':')
      if (at < 1) throw new CliError(`--header must be like 'name: value', but is '${header}'`, 2)
      return [header.slice(0, at).trim().toLowerCase(), header.slice(at + 1).trim()]
    }),
  )
}

function doubling(most: number): string {
  const steps = [1]
  while ((steps.at(-1) as number) * 2 <= most) steps.push((steps.at(-1) as number) * 2)
  if (steps.at(-1) !== most) steps.push(most)
  return steps.join()
}
