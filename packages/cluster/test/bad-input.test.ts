import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readLimits } from '../src/limits/limits.ts'
import { cli, FIXTURES, startLauncher } from './launcher.ts'
import { freePort, waitFor } from './helpers.ts'

let dir: string
const cleanups: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fs-bad-'))
})
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true, force: true })
})

const APP = join(FIXTURES, 'app.mjs')

/** Starts an app that can't be started, and expects one line on stderr and nothing left behind. */
async function refused(args: string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; line: string }> {
  const runtime = join(dir, 'run')
  const port = args.includes('-p') ? [] : ['-p', String(await freePort())]
  const { code, err, out } = await cli(['start', ...args, ...port, '--runtime-dir', runtime], { env, cwd: dir })
  const lines = err.trim().split('\n')
  expect(lines).toHaveLength(1)
  expect(out).toBe('')
  const status = await cli(['status', '--runtime-dir', runtime])
  expect(status.err).toMatch(/no launcher runs here/)
  return { code, line: lines[0] as string }
}

function write(name: string, text: string): string {
  const file = join(dir, name)
  writeFileSync(file, text)
  return file
}

describe('what can not be started says why in one line, and leaves nothing behind', () => {
  test.each<[name: string, make: () => string[] | Promise<string[]>, code: number, says: RegExp]>([
    ['no app named', () => [], 2, /which app\?/],
    ['two apps named', () => [APP, APP], 2, /unexpected argument/],
    ['a missing app', () => ['nowhere.mjs'], 1, /there is no app at .*nowhere\.mjs/],
    ['a folder without an app', () => ['.'], 1, /has no index\.js/],
    [
      'an app with a syntax error',
      () => [write('wrong.mjs', 'export default async function app() {\n  const a =\n}\n')],
      1,
      /wrong\.mjs:3: SyntaxError: Unexpected token/,
    ],
    [
      'an app without a default export',
      () => [write('none.mjs', 'export const x = 1')],
      1,
      /none\.mjs must export a Fastify plugin/,
    ],
    [
      'a default export that is no plugin',
      () => [write('number.mjs', 'export default 5')],
      1,
      /must export a Fastify plugin/,
    ],
    [
      'an app that throws',
      () => [write('throws.mjs', "export default async () => { throw new TypeError('no database url') }")],
      1,
      /no database url/,
    ],
    [
      'an app that throws when it is loaded',
      () => [write('early.mjs', "throw new RangeError('too early')")],
      1,
      /too early/,
    ],
    ['an app that ends its process', () => [write('ends.mjs', 'process.exit(3)')], 1, /exit code 3/],
    [
      'an app that imports what is not there',
      () => [write('imports.mjs', "import 'no-such-package'\nexport default async () => {}")],
      1,
      /Cannot find package 'no-such-package'/,
    ],
    [
      'a createServer() that returns nothing',
      () => [write('server.mjs', 'export function createServer() {}')],
      1,
      /createServer\(\) of .* must return a Fastify instance/,
    ],
    ['--workers 0', () => [APP, '-w', '0'], 1, /option 'workers' must be a whole number from 1/],
    ['--workers many', () => [APP, '-w', 'many'], 1, /option 'workers' must be 'auto', a number or a range/],
    ['a range the wrong way round', () => [APP, '-w', '4..2'], 1, /larger number first/],
    ['a port that is none', () => [APP, '-p', '70000'], 1, /option 'port' must be a whole number from 0 to 65535/],
    ['a port that is text', () => [APP, '-p', 'http'], 2, /--port must be a whole number/],
    [
      'a host that is none',
      () => [APP, '--host', 'no.such.host.invalid'],
      1,
      /cannot listen on 'no\.such\.host\.invalid'/,
    ],
    ['an empty host', () => [APP, '--host', ''], 1, /option 'host' must be an address or a name, but is ''/],
    ['an empty socket', () => [APP, '--socket', ''], 1, /option 'path' must be the path of a unix socket, but is ''/],
    ['a host of another machine', () => [APP, '--host', '203.0.113.7'], 1, /this machine does not have that address/],
    ['an unknown option', () => [APP, '--wokers', '2'], 2, /Unknown option '--wokers'/],
    [
      'a priority above that of others',
      () => [APP, '--job-nice=-5'],
      2,
      /--job-nice must be a whole number or 'idle', but is '-5'/,
    ],
    [
      'a priority that is none',
      () => [APP, '--job-nice', '20'],
      1,
      /option 'jobNice' must be a whole number from 0 to 19/,
    ],
    ['an unknown balance', () => [APP, '--balance', 'magic'], 1, /option 'balance' must be/],
    ['an unknown stickiness', () => [APP, '--sticky', 'cookie'], 1, /option 'sticky' must be 'ip' or 'header:<name>'/],
    [
      'stickiness where the kernel chooses',
      () => [APP, '--sticky', 'ip', '--balance', 'none'],
      1,
      /option 'sticky' needs balance 'round-robin'/,
    ],
    [
      'stickiness by address on a unix socket',
      () => [APP, '--sticky', 'ip', '--socket', join(dir, 'app.sock')],
      1,
      /option 'sticky' by 'ip' needs a port/,
    ],
    ['a duration that is none', () => [APP, '--drain-timeout', 'soon'], 1, /option 'drainTimeout' must be/],
    ['a name that is a path', () => [APP, '--name', '../x'], 1, /option 'name' must be/],
  ])('%s', async (_, make, expected, says) => {
    const { code, line } = await refused(await make())
    expect(line).toMatch(says)
    expect(code).toBe(expected)
  })

  test('a port that is taken: before any process is forked', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    cleanups.push(() => other.close())
    await waitFor(() => other.listening)
    const { port } = other.address() as { port: number }
    const { code, line } = await refused([APP, '-p', String(port), '--host', '127.0.0.1'])
    expect(line).toContain(`cannot listen on 127.0.0.1:${port}: the port is taken by another process (EADDRINUSE)`)
    expect(code).toBe(1)
  })

  test('a port that only root may have', async () => {
    const first = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
    // As nobody, where this is root; as oneself otherwise.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    chmodSync(dir, 0o777)
    // In some containers no port is privileged: then the highest is one that is none at all.
    const port = first > 1 ? '1' : '65536'
    const args = ['-w', '1', '-p', port, '--host', '127.0.0.1', '--runtime-dir', join(dir, 'run')]
    const { code, out, err } = await cli(['start', APP, ...args], { ...user, cwd: '/' })
    expect({ code, out }).toEqual({ code: 1, out: '' })
    if (first > 1)
      expect(err).toBe(
        'fastify-scale start: cannot listen on 127.0.0.1:1: ports below 1024 need root or CAP_NET_BIND_SERVICE; use a port from 1024 on, or a systemd socket (EACCES)\n',
      )
    else expect(err).toMatch(/^fastify-scale start: option 'port' must be a whole number from 0 to 65535[^\n]*\n$/)
    expect(readdirSync(join(dir, 'run'))).toEqual([])
  })

  test('a runtime directory that others can enter', async () => {
    const open = join(dir, 'open')
    mkdirSync(open)
    chmodSync(open, 0o755)
    const { code, err } = await cli(['start', APP, '-p', '0', '--runtime-dir', open])
    expect(code).toBe(1)
    expect(err).toMatch(/must be a directory of this user's with mode 0700/)
  })

  test('an app that does not become ready in time', async () => {
    const flag = write('flag', 'unready')
    const { code, line } = await refused([join(FIXTURES, 'flagged.mjs'), '--start-timeout', '5s'], { FLAG: flag })
    expect(line).toMatch(/did not become ready within 5000 ms: fixture: flag: the flag is down/)
    expect(code).toBe(1)
  })
})

test('more workers than memory allows: a warning that says how many would fit, and it starts', async () => {
  const most = 1_024
  // One to begin with: what a range may grow to counts.
  const launcher = await startLauncher({ workers: `1..${most}` })
  cleanups.push(() => launcher.stop('SIGKILL'))
  const { memory } = readLimits()
  const fit = Math.floor((memory * 0.85) / 67_108_864)
  const said = launcher.said(/would fit/)
  if (fit >= most) return expect(said).toEqual([])
  expect(said).toHaveLength(1)
  expect(said[0]).toMatch(
    new RegExp(
      `1024 workers need 65536 MB at the least, of ${Math.round(memory / 1_048_576)} MB granted: ${fit} would fit`,
    ),
  )
  expect((await fetch(launcher.url)).status).toBe(200)
})

describe('commands', () => {
  test('an unknown one', async () => {
    const { code, err } = await cli(['reboot'])
    expect({ code, err }).toEqual({
      code: 2,
      err: "fastify-scale: unknown command 'reboot'; try 'fastify-scale --help'\n",
    })
  })

  test.each(['reload', 'status', 'stop', 'logs'])('%s where no launcher runs', async (command) => {
    const { code, err } = await cli([command, '--runtime-dir', join(dir, 'run')])
    expect({ code, err }).toEqual({
      code: 1,
      err: `fastify-scale ${command}: no launcher runs here; start one with: fastify-scale start <app>\n`,
    })
  })

  test('a launcher of that name that does not run', async () => {
    const { code, err } = await cli(['reload', '--name', 'other', '--runtime-dir', join(dir, 'run')])
    expect(code).toBe(1)
    expect(err).toMatch(/no launcher listens at .*other\.sock/)
  })

  test.each([
    [['scale'], 2, /to how many\?/],
    [['scale', 'many'], 2, /to how many\?/],
    [['scale', '0'], 1, /at least 1 worker/],
    [['scale', '-5'], 1, /at least 1 worker/],
    [['scale', '5000'], 1, /from 1 to 1024/],
  ])('%j', async (args, expected, says) => {
    const launcher = await startLauncher({ workers: '1' })
    cleanups.push(() => launcher.stop('SIGKILL'))
    const { code, err } = await launcher.cli(...args)
    expect(err).toMatch(says)
    expect(code).toBe(expected)
    expect((await launcher.status()).slots).toHaveLength(1)
  })
})

describe('the control socket', () => {
  test('a second launcher of that name is refused, the first one serves on', async () => {
    const launcher = await startLauncher({ workers: '1' })
    cleanups.push(() => launcher.stop('SIGKILL'))
    const args = ['--name', launcher.name, '--runtime-dir', launcher.runtimeDir]
    const { code, err } = await cli(['start', APP, '-p', String(await freePort()), ...args])
    expect(code).toBe(1)
    expect(err).toMatch(new RegExp(`a launcher named '${launcher.name}' runs already`))
    expect((await launcher.status()).pid).toBe(launcher.pid)
  })

  test('one that a dead launcher left is taken over', async () => {
    const first = await startLauncher({ workers: '1', name: 'phoenix', runtimeDir: join(dir, 'run') })
    process.kill(first.pid, 'SIGKILL')
    await waitFor(() => first.child.signalCode !== null)
    expect(statSync(join(dir, 'run', 'phoenix.sock')).isSocket()).toBe(true)
    const second = await startLauncher({ workers: '1', name: 'phoenix', runtimeDir: join(dir, 'run') })
    cleanups.push(() => second.stop('SIGKILL'))
    expect((await second.status()).pid).toBe(second.pid)
  })

  test('only its owner may use it, and it is gone when the launcher is', async () => {
    const launcher = await startLauncher({ workers: '1' })
    const socket = join(launcher.runtimeDir, `${launcher.name}.sock`)
    expect(statSync(launcher.runtimeDir).mode & 0o777).toBe(0o700)
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    if (process.getuid?.() === 0) {
      // As nobody, which only root can become.
      const script = `require('net').connect(${JSON.stringify(socket)}).on('error', (e) => console.log(e.code)).on('connect', () => { console.log('in'); process.exit() })`
      const { stdout } = spawnSync(process.execPath, ['-e', script], {
        uid: 65_534,
        gid: 65_534,
        cwd: '/',
        encoding: 'utf8',
      })
      expect(stdout).toBe('EACCES\n')
    }
    expect(await launcher.stop()).toBe(0)
    expect(() => statSync(socket)).toThrow('ENOENT')
  })

  test.each([
    ['text', 'hello\n'],
    ['JSON that is no order', '{"v":1}\n'],
    ['an order of another version', '{"v":2,"order":"stop"}\n'],
    ['an unknown order', '{"v":1,"order":"__proto__"}\n'],
    ['an inherited name', '{"v":1,"order":"constructor"}\n'],
    ['a line without end', 'x'.repeat(100_000)],
    ['nothing', ''],
    ['bytes', Buffer.from([0xff, 0x00, 0xfe, 0x0a])],
  ])('%s hurts nothing', async (_, sent) => {
    const launcher = await startLauncher({ workers: '1' })
    cleanups.push(() => launcher.stop('SIGKILL'))
    const socket = connect(join(launcher.runtimeDir, `${launcher.name}.sock`))
    let answer = ''
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => (answer += chunk))
    socket.write(sent)
    if (sent === '') socket.destroy()
    else await waitFor(() => answer.endsWith('\n'))
    if (sent !== '') expect(JSON.parse(answer)).toMatchObject({ v: 1, ok: false, code: 'SCALE_CLUSTER_CONTROL' })
    socket.destroy()
    expect((await launcher.status()).slots[0]?.state).toBe('ready')
  })
})
