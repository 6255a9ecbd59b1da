import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../src/options.ts'
import { refuseReusePort } from '../src/primary/reuse-port.ts'
import { cli, collect, type ClientResult, FIXTURES, makeRuntimeDir } from './launcher.ts'

const SOAK = process.env.SOAK === '1'

describe('where it would lose connections, or is not there', () => {
  const yes = (): string => '1'

  test.each(['20.20.2', '22.11.0', '23.0.0'])('Node %s', (version) => {
    expect(refuseReusePort(version, yes)).toBe(`needs Node 22.12 or later, and this is ${version}`)
  })

  test.each(['0', 'not there', ''])('tcp_migrate_req %j', (value) => {
    expect(refuseReusePort('22.12.0', () => value)).toMatch(
      new RegExp(`^needs net\\.ipv4\\.tcp_migrate_req to be 1, and it is ${value}:`),
    )
  })

  test.each(['22.12.0', '22.23.1', '23.1.0', '24.0.0'])('not on Node %s where it is 1', (version) => {
    expect(refuseReusePort(version, yes)).toBeUndefined()
  })

  test('a unix socket', () => {
    expect(() => resolveOptions({ app: 'a', path: '/tmp/x', balance: 'reuse-port' })).toThrow(
      expect.objectContaining({ code: 'SCALE_CLUSTER_OPTION' }),
    )
  })

  test('the command says which, in one line, and leaves nothing behind', async () => {
    const runtime = makeRuntimeDir()
    const refusal = refuseReusePort('20.19.0', yes) as string
    const args = ['-p', '0', '--balance', 'reuse-port', '--runtime-dir', runtime.dir]
    // The oldest Node that is supported, whatever runs the tests.
    const node = process.versions.node.startsWith('20.') ? process.execPath : nodeOf('20')
    const { code, err, out } = await cli(['start', join(FIXTURES, 'app.mjs'), ...args], { node: [node] })
    runtime.remove()
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/^fastify-scale start: option 'balance': 'reuse-port' needs Node 22\.12 or later[^\n]*\n$/)
    expect(refusal).toContain('22.12')
  })
})

function nodeOf(version: string): string {
  return execFileSync('npx', ['--yes', `node@${version}`, '-p', 'process.execPath'], {
    encoding: 'utf8',
    env: { ...process.env, npm_config_yes: 'true' },
  }).trim()
}

/** A network namespace is this process's own to set up, where the system lets it make one. */
const NAMESPACE = ['unshare', ...(process.getuid?.() === 0 ? ['-n'] : ['-r', '-n']), 'sh', '-c']
const SET_UP = 'ip link set lo up && echo 1 > /proc/sys/net/ipv4/tcp_migrate_req'

function hasNamespaces(): boolean {
  const [command, ...args] = NAMESPACE
  return spawnSync(command as string, [...args, SET_UP], { stdio: 'ignore' }).status === 0
}

describe('where the kernel migrates connections', () => {
  test.each(['1', '2'])(
    'reloads lose nothing, %s worker(s)',
    async (workers) => {
      const node = nodeOf('22')
      const driver = join(import.meta.dirname, 'clients', 'reuse-port.ts')
      const [command, ...args] = NAMESPACE
      if (!hasNamespaces()) {
        // This system lets nobody try; what it must do then is refuse.
        const runtime = makeRuntimeDir()
        const start = ['start', join(FIXTURES, 'app.mjs'), '-p', '0', '--balance', 'reuse-port']
        const { code, err } = await cli([...start, '--runtime-dir', runtime.dir], { node: [node] })
        runtime.remove()
        expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining('tcp_migrate_req') })
        return
      }
      const { out, err, code } = await collect(
        spawn(
          command as string,
          [...args, `${SET_UP} && exec "$@"`, 'sh', node, driver, workers, SOAK ? '20000' : '1000'],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        ),
      )
      expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' })
      const { results, reloads, ...rest } = JSON.parse(out) as {
        results: Record<string, ClientResult>
        reloads: unknown[]
        slots: number
        code: number
      }
      console.info(
        `reuse-port, ${workers} worker(s): ${reloads.length} reloads, ${JSON.stringify(
          Object.entries(results).map(([name, one]) => [name, one.requests, one.failures, one.hangs]),
        )}`,
      )
      for (const [name, { failures, hangs, errors }] of Object.entries(results))
        expect({ name, failures, hangs, errors }).toEqual({ name, failures: 0, hangs: 0, errors: {} })
      for (const reload of reloads) expect(reload).toMatchObject({ ok: true, killed: 0, cut: 0 })
      expect(rest).toEqual({ slots: Number(workers), code: 0 })
    },
    600_000,
  )
})
