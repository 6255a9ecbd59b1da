import { once } from 'node:events'
import { createServer } from 'node:http'
import { type LookupFunction, connect } from 'node:net'
import { expect, test } from 'vitest'
import { type CliProgram, CliError, addReadinessCheck, oneLine, runCli, runReadinessChecks } from '../src/index.ts'

function program(run: CliProgram['commands'][string]['run']): CliProgram {
  return {
    name: 'tool',
    summary: 'a tool',
    version: '1.2.3',
    commands: {
      'keys new': {
        summary: 'makes keys',
        usage: 'keys new [--size N]',
        options: { size: { type: 'string' } },
        help: { size: 'bits' },
        run,
      },
    },
  }
}

async function call(argv: string[], run: CliProgram['commands'][string]['run'] = () => undefined) {
  const out: string[] = []
  const err: string[] = []
  const code = await runCli(program(run), argv, { out: (text) => out.push(text), err: (text) => err.push(text) })
  return { code, out: out.join('\n'), err: err.join('\n') }
}

test('runs a command of two words with its options', async () => {
  let seen: unknown
  const { code } = await call(['keys', 'new', '--size', '2048', 'file.json'], ({ values, positionals }) => {
    seen = [values['size'], positionals]
  })
  expect(code).toBe(0)
  expect(seen).toEqual(['2048', ['file.json']])
})

test.each([
  [['nope'], 2, "tool: unknown command 'nope'; try 'tool --help'"],
  [['__proto__'], 2, "tool: unknown command '__proto__'; try 'tool --help'"],
  [['constructor'], 2, "tool: unknown command 'constructor'; try 'tool --help'"],
])('%s is one line and exit code %d', async (argv, exitCode, line) => {
  const { code, err } = await call(argv)
  expect([code, err]).toEqual([exitCode, line])
})

test('an unknown option is one line that names it', async () => {
  const { code, err } = await call(['keys', 'new', '--sice'])
  expect(code).toBe(2)
  expect(err).toContain('--sice')
  expect(err.split('\n')).toHaveLength(1)
})

test('an error of the command is one line without a stack', async () => {
  const first = await call(['keys', 'new'], () => {
    throw new CliError('no such file\nand more', 3)
  })
  expect(first).toMatchObject({ code: 3, err: 'tool keys new: no such file' })
  const second = await call(['keys', 'new'], () => {
    throw Object.assign(new Error('listen failed'), { code: 'EADDRINUSE' })
  })
  expect(second).toMatchObject({ code: 1, err: 'tool keys new: listen failed (EADDRINUSE)' })
})

test('of a server with two addresses that both refuse, the first refusal is told', async () => {
  // Node's own error has no message then, only those of the attempts.
  const lookup = ((_host: string, _options: object, done: (error: null, all: object[]) => void) =>
    done(
      null,
      ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
    )) as unknown as LookupFunction
  const refused = await once(connect({ host: 'localhost', port: 1, lookup }), 'connect').catch(
    (error: unknown) => error,
  )
  expect(refused).toMatchObject({ name: 'AggregateError', message: '' })
  expect(oneLine(refused)).toBe('connect ECONNREFUSED 127.0.0.1:1')
  const server = createServer()
  addReadinessCheck({ server } as never, { name: 'bucket', check: () => Promise.reject(refused as Error) })
  expect((await runReadinessChecks({ server } as never)).checks[0]?.reason).toBe('connect ECONNREFUSED 127.0.0.1:1')
  expect(oneLine(new Error(''))).toBe('Error')
})

test('help and version', async () => {
  expect((await call(['--version'])).out).toBe('1.2.3')
  expect((await call(['--help'])).out).toContain('tool keys new [--size N]')
  expect((await call(['keys', 'new', '--help'])).out).toContain('--size')
  expect((await call([])).code).toBe(2)
})
