import { hostname } from 'node:os'
import { Writable } from 'node:stream'
import fastify, { type FastifyServerOptions } from 'fastify'
import { afterEach, expect, test } from 'vitest'
import { createWorkerLog } from '../src/worker/logger.ts'
import { takeSpec } from '../src/worker/spec.ts'

const VARIABLE = 'FASTIFY_SCALE_WORKER'
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

type Line = Record<string, unknown>

/** What an app with these options logs at `info` and `warn`, without the time. */
async function linesOf(logger: FastifyServerOptions['logger'], logLevel = 'info'): Promise<Line[]> {
  const spec = takeSpec({ [VARIABLE]: JSON.stringify({ slot: 3, generation: 4, logLevel, requestLog: false }) })
  const log = createWorkerLog(spec as NonNullable<typeof spec>)
  const lines: Line[] = []
  log.tail((line) => lines.push(JSON.parse(line) as Line))
  const app = fastify(log.serverOptions({ logger }, fastify))
  cleanups.push(() => app.close())
  app.log.info('information')
  app.log.warn('warning')
  for (const line of lines) delete line['time']
  return lines
}

const OURS = { worker: 3, generation: 4 }
const PROCESS = { pid: process.pid, hostname: hostname() }

test.each([
  ['no options', undefined],
  ['true', true],
  ['options without a base', { messageKey: 'text' }],
])('a line has the process, the worker and its generation: %s', async (_, logger) => {
  expect(await linesOf(logger)).toMatchObject([
    { level: 30, ...PROCESS, ...OURS },
    { level: 40, ...PROCESS, ...OURS },
  ])
})

test.each([
  ['fields of its own', { service: 'shop' }, { service: 'shop' }],
  ['none', null, {}],
  ['none, by undefined', undefined, {}],
])('a base with %s stays as it is, with the two bindings', async (_, base, expected) => {
  expect((await linesOf({ base } as never))[0]).toEqual({ level: 30, ...expected, ...OURS, msg: 'information' })
})

test.each([
  ['no base', {}, PROCESS],
  ['a base', { base: { service: 'shop' } }, { service: 'shop' }],
  ['none', { base: null }, {}],
])('so it is where the app writes to a stream of its own: %s', async (_, options, expected) => {
  const own: Line[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      own.push(JSON.parse(String(chunk)) as Line)
      done()
    },
  })
  expect(await linesOf({ ...options, stream } as never)).toEqual([])
  expect(own[0]).toEqual({ level: 30, time: own[0]?.['time'], ...expected, ...OURS, msg: 'information' })
})

test.each([
  ['undefined, as a variable that is not set', undefined],
  ['empty', ''],
])('a level that is %s is the one of the launcher, and the app starts', async (_, level) => {
  expect((await linesOf({ level } as never, 'warn')).map(({ msg }) => msg)).toEqual(['warning'])
  expect((await linesOf({ level: 'info' }, 'warn')).map(({ msg }) => msg)).toEqual(['information', 'warning'])
})
