import fastify from 'fastify'
import pino, { type Logger } from 'pino'
import { expect, test } from 'vitest'
import { makeChildrenLazy } from '../src/worker/lazy-child.ts'

function logger(options: pino.LoggerOptions = {}): { log: Logger; plain: Logger; lines: string[]; expected: string[] } {
  const lines: string[] = []
  const expected: string[] = []
  const settings = { base: { pid: 1, worker: 2 }, timestamp: false, ...options }
  const log = pino(settings, { write: (line: string) => void lines.push(line) })
  makeChildrenLazy(log)
  return { log, plain: pino(settings, { write: (line: string) => void expected.push(line) }), lines, expected }
}

const ERROR = new TypeError('two')

/** Everything that a request's logger is used for. */
function use(root: Logger): unknown[] {
  const seen: unknown[] = []
  const child = root.child({ reqId: 'a' }, {})
  child.info('one')
  child.error(ERROR)
  seen.push(child.bindings(), child.level, child.isLevelEnabled('debug'))
  const grandchild = child.child({ part: 'b' })
  grandchild.warn({ x: 1 }, 'three')
  const lazyGrandchild = root.child({ reqId: 'c' }, {}).child({ part: 'd' }, {})
  lazyGrandchild.info('four')
  seen.push(lazyGrandchild.bindings(), grandchild.bindings())
  const unread = root.child({ reqId: 'e' }, {}).child({ part: 'f' })
  unread.info('five')
  const bound = root.child({ reqId: 'g' }, {})
  bound.setBindings({ user: 'h' })
  bound.info('six')
  const loud = root.child({ reqId: 'i' }, { level: 'debug' })
  loud.debug('seven')
  const quiet = root.child({ reqId: 'j' }, {})
  quiet.level = 'error'
  quiet.info('not seen')
  root.child({ n: 1 }, {}).info('eight')
  root
    .child({ reqId: 'k' }, {})
    .child({ secret: 's' }, { redact: ['secret'] })
    .info({ secret: 't' }, 'nine')
  root.info('ten')
  return seen
}

test.each([
  ['plain', {}],
  [
    'with formatters',
    { formatters: { bindings: (b: object) => ({ ...b, f: 1 }), level: (label: string) => ({ label }) } },
  ],
  ['with serializers', { serializers: { reqId: (id: string) => `<${id}>`, part: (part: string) => `(${part})` } }],
  ['with redaction', { redact: ['reqId'] }],
  ['with a prefix and a mixin', { msgPrefix: '> ', mixin: () => ({ m: 1 }) }],
])('lines and bindings are those of pino: %s', (_name, options: pino.LoggerOptions) => {
  const { log, plain, lines, expected } = logger(options)
  expect(use(log)).toEqual(use(plain))
  expect(lines).toEqual(expected)
  expect(lines.length).toBe(10)
})

test('the text of the bindings is not written for a request that logs nothing', async () => {
  let written = 0
  const serializers = { reqId: (id: string) => (written++, id) }
  const { log, lines } = logger({ serializers })
  const app = fastify({ loggerInstance: log, disableRequestLogging: true })
  app.get('/quiet', async () => 'ok')
  app.get('/loud', async (request) => {
    request.log.info('heard')
    request.log.info('again')
    return 'ok'
  })
  await app.inject('/quiet')
  expect(written).toBe(0)
  await app.inject('/loud')
  expect(written).toBe(1)
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { level: 30, pid: 1, worker: 2, reqId: 'req-2', msg: 'heard' },
    { level: 30, pid: 1, worker: 2, reqId: 'req-2', msg: 'again' },
  ])
  await app.close()
})
