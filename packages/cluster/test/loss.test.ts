import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { debianTool } from '@fastify-scale/dev-services'
import { describe, expect, test } from 'vitest'
import type { ReloadResult } from '../src/index.ts'
import { collect, HANG, type Launcher, runClient, startLauncher } from './launcher.ts'

// SOAK=1: the full figures of the promise. Else a form that a CI run can afford.
const SOAK = process.env.SOAK === '1'
const REQUESTS = SOAK ? 100_000 : 5_000
const RELOADS = 10
/** Connections of each client: in the short form all clients run at once. */
const MANY = SOAK ? 200 : 40
const SECONDS = SOAK ? 10 : 3

interface Outcome {
  requests: number
  failures: number
  hangs: number
}

/** Reloads once a second, or as soon as the reload before has ended, until all work is done. */
async function whileReloading(launcher: Launcher, work: (reloads: () => number) => Promise<void>): Promise<number> {
  let reloads = 0
  let working = true
  const busy = work(() => reloads).finally(() => (working = false))
  // Its failure is heard of below, when the reload under way has ended.
  busy.catch(() => undefined)
  while (working) {
    const second = new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 0, cut: 0 } satisfies Partial<ReloadResult>)
    reloads += 1
    await Promise.race([second, busy])
  }
  await busy
  return reloads
}

async function ab(launcher: Launcher, args: string[]): Promise<Outcome> {
  const tool = await debianTool('ab')
  const count = REQUESTS / 5
  const { out, err } = await collect(
    spawn(
      tool.path,
      [...tool.args, '-q', '-r', '-s', String(HANG / 1_000), '-n', String(count), ...args, `${launcher.url}/fixed`],
      {
        env: { ...process.env, ...tool.env },
      },
    ),
  )
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(out)?.[1] ?? Number.NaN)
  if (!out.includes('Complete requests')) throw new TypeError(`ab: ${out}${err}`)
  return {
    requests: read('Complete requests'),
    failures: read('Failed requests') + (read('Non-2xx responses') || 0),
    hangs: 0,
  }
}

async function wrk(launcher: Launcher): Promise<Outcome> {
  const tool = await debianTool('wrk')
  const { out } = await collect(
    spawn(
      tool.path,
      [
        ...tool.args,
        '-c',
        String(MANY / 2),
        '-t',
        '1',
        '-d',
        String(SECONDS),
        '--timeout',
        String(HANG / 1_000),
        `${launcher.url}/`,
      ],
      {
        env: { ...process.env, ...tool.env },
      },
    ),
  )
  const requests = Number(/(\d+) requests in/.exec(out)?.[1])
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(out) ?? []
  const [, connect = 0, read = 0, write = 0, timeout = 0] = errors.map(Number)
  const status = Number(/Non-2xx or 3xx responses: (\d+)/.exec(out)?.[1] ?? 0)
  return { requests, failures: connect + read + write + status, hangs: timeout }
}

async function autocannon(launcher: Launcher): Promise<Outcome> {
  const file = createRequire(import.meta.url).resolve('autocannon')
  const { out } = await collect(
    spawn(process.execPath, [
      file,
      '-c',
      String(MANY / 2),
      '-d',
      String(SECONDS),
      '-t',
      String(HANG / 1_000),
      '--json',
      '--no-progress',
      `${launcher.url}/`,
    ]),
  )
  const result = JSON.parse(out) as Record<string, number> & { requests: { total: number } }
  return {
    requests: result.requests.total,
    failures: (result.errors ?? 0) - (result.timeouts ?? 0) + (result.non2xx ?? 0) + (result.resets ?? 0),
    hangs: result.timeouts ?? 0,
  }
}

const clients: Record<string, (launcher: Launcher) => Promise<Outcome>> = {
  'ab, one request per connection': (launcher) => ab(launcher, ['-c', String(MANY)]),
  'ab -k': (launcher) => ab(launcher, ['-k', '-c', String(MANY)]),
  wrk,
  autocannon,
  '200 kept-alive connections with think time, no retries': ({ port }) =>
    runClient('think', port, REQUESTS / 5, 200, 300),
  'kept-alive connections with think time 0-3 s': ({ port }) => runClient('think', port, REQUESTS / 5, MANY * 5, 3_000),
  'one request per connection': ({ port }) => runClient('one', port, REQUESTS / 5, MANY / 2),
  'POST with bodies of 20 kB': ({ port }) => runClient('post', port, REQUESTS / 5, MANY / 2),
  'a handler of 50 ms': ({ port }) => runClient('slow', port, REQUESTS / 5, MANY),
  'requests pipelined by eight': ({ port }) => runClient('pipeline', port, REQUESTS / 5, MANY / 2),
  'upgraded connections': ({ port }) => runClient('websocket', port, REQUESTS / 5, MANY, 50),
}

function check(name: string, { requests, failures, hangs, reloads }: Outcome & { reloads: number }): void {
  console.info(`${name}: ${requests} requests, ${reloads} reloads, ${failures} failures, ${hangs} hangs`)
  expect({ name, failures, hangs }).toEqual({ name, failures: 0, hangs: 0 })
  expect(requests).toBeGreaterThanOrEqual(REQUESTS)
  expect(reloads).toBeGreaterThanOrEqual(RELOADS)
}

async function run(workers: string, names: string[]): Promise<void> {
  const launcher = await startLauncher({ workers, args: ['--log-level', 'warn'] })
  try {
    const sums = new Map<string, Outcome>()
    const reloads = await whileReloading(launcher, async (soFar) => {
      await Promise.all(
        names.map(async (name) => {
          const sum = { requests: 0, failures: 0, hangs: 0 }
          sums.set(name, sum)
          while (sum.requests < REQUESTS || soFar() < RELOADS) {
            const { requests, failures, hangs } = await (clients[name] as (typeof clients)[string])(launcher)
            sum.requests += requests
            sum.failures += failures
            sum.hangs += hangs
          }
        }),
      )
    })
    for (const [name, sum] of sums) check(name, { ...sum, reloads })
  } finally {
    expect(await launcher.stop()).toBe(0)
  }
}

describe('no request is lost with a reload per second', () => {
  if (SOAK) {
    for (const workers of ['1', '2'])
      for (const name of Object.keys(clients))
        test(`${name}, ${workers} worker(s)`, () => run(workers, [name]), 900_000)
  } else {
    // All of them at once: a small machine is then as busy as can be.
    test('all clients at once, 2 workers', () => run('2', Object.keys(clients)), 300_000)
    test(
      'kept-alive connections, 1 worker',
      () => run('1', ['200 kept-alive connections with think time, no retries']),
      120_000,
    )
  }
})
