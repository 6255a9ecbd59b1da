import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { parseWorkers, resolveOptions } from '../src/options.ts'
import { makeRuntimeDir } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(() => {
  for (const step of cleanups.splice(0).reverse()) step()
})

/** Runs a script that starts clusters from code, with a runtime directory of its own. It must end by itself, without a word of trouble. */
function runScript(name: string, ...args: string[]): { stdout: string; runtime: string } {
  const runtime = makeRuntimeDir()
  cleanups.push(runtime.remove)
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, 'fixtures', name), ...args],
    {
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, RUNTIME: runtime.dir, FLAG: join(runtime.dir, 'flag') },
    },
  )
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return { stdout, runtime: runtime.dir }
}

test('from code: start, reload, scale, status, stop; then the process ends by itself', () => {
  // The second app finds no flag, and notes that it was loaded beside where it looked.
  const { stdout, runtime } = runScript('from-code.mjs')
  expect(JSON.parse(stdout.trim().split('\n').at(-1) as string)).toEqual({
    first: 200,
    reload: { ok: true, replaced: 1 },
    scaled: 2,
    states: ['ready', 'ready'],
    ended: 'undefined',
    second: 'SCALE_CLUSTER_START',
  })
  expect(existsSync(join(runtime, 'from-code.sock'))).toBe(false)
}, 90_000)

test.each([
  ['start', undefined],
  ['reload', 'stop-early is stopping'],
  ['kill', 'stop-early is stopping'],
])(
  'stopped during a %s: no worker is left, none comes after, and the process ends by itself',
  (moment, reason) => {
    const { stdout } = runScript('stop-early.mjs', moment)
    expect(JSON.parse(stdout)).toEqual({ ended: 'undefined', left: 0, ...(reason !== undefined && { reason }) })
  },
  90_000,
)

test('killed: the port, the control socket and the workers are gone, and it has ended', () => {
  const { stdout, runtime } = runScript('killed.mjs')
  expect(JSON.parse(stdout)).toEqual({ request: 'cut', refused: 'ECONNREFUSED', ended: 'undefined', left: 0 })
  expect(existsSync(join(runtime, 'killed.sock'))).toBe(false)
}, 90_000)

describe('options', () => {
  const cores = (): number => 6

  test('hangTimeout 0 turns the watchdog off', () => {
    expect(resolveOptions({ app: 'a', hangTimeout: 0 }, cores).hangTimeout).toBe(0)
    expect(resolveOptions({ app: 'a', hangTimeout: 200 }, cores).hangTimeout).toBe(200)
  })

  test.each([
    ['auto', { min: 6, max: 6, initial: 6 }],
    [3, { min: 3, max: 3, initial: 3 }],
    ['2..8', { min: 2, max: 8, initial: 2 }],
    ['2..auto', { min: 2, max: 6, initial: 2 }],
  ])('workers %j', (value, range) => {
    expect(parseWorkers(value, cores)).toEqual(range)
  })

  test.each([
    [{}, /option 'app'/],
    [{ app: 'a', prot: 1 }, /unknown option 'prot'/],
    [{ app: 'a', redLines: { cpu: 75 } }, /option 'redLines.cpu' must be a share/],
    [{ app: 'a', redLines: { gpu: 1 } }, /unknown option 'gpu'/],
    [{ app: 'a', maxMemory: 'lots' }, /option 'maxMemory'/],
    [{ app: 'a', logLevel: 'loud' }, /option 'logLevel'/],
    [{ app: 'a', port: 1.5 }, /option 'port'/],
    [{ app: 'a', hangTimeout: '100ms' }, /option 'hangTimeout' must be 0 \(off\) or at least 200 ms, but is '100ms'/],
    [{ app: 'a', workers: '1e3' }, /option 'workers'/],
  ])('%j is refused', (options, says) => {
    expect(() => resolveOptions(options as never, cores)).toThrow(says)
    expect(() => resolveOptions(options as never, cores)).toThrow(
      expect.objectContaining({ code: 'SCALE_CLUSTER_OPTION' }),
    )
  })
})
