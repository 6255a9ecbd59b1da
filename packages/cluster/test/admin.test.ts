import { EventEmitter } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Primary } from '../src/primary/types.ts'
import { startServices } from '../src/services.ts'
import { freePort, waitFor } from './helpers.ts'
import { cli, FIXTURES, type Launcher, makeRuntimeDir, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(...args: string[]): Promise<Launcher> {
  const launcher = await startLauncher({ workers: '1', args })
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

test('without a word about it: on a free port of loopback that the first line and the status name', async () => {
  const [one, two] = await Promise.all([start(), start()])
  const urls = await Promise.all([one, two].map(async (launcher) => (await launcher.status()).admin as string))
  expect(new Set(urls).size).toBe(2)
  for (const [i, launcher] of [one, two].entries()) {
    const url = urls[i] as string
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(launcher.said(new RegExp(`ready on ${launcher.url} after .*; admin pages on ${url}"`))).toHaveLength(1)
    expect((await launcher.cli('status')).out).toContain(`admin pages on ${url}\n`)
    for (const page of ['livez', 'readyz', 'metrics', 'status'])
      expect((await fetch(`${url}/${page}`)).status).toBe(200)
    // Each its own.
    expect(await (await fetch(`${url}/status`)).json()).toMatchObject({
      name: launcher.name,
      pid: launcher.pid,
      admin: url,
    })
    // And never on the public port.
    expect((await fetch(`${launcher.url}/livez`)).status).toBe(404)
  }
  expect(await one.stop()).toBe(0)
  await expect(fetch(`${urls[0]}/livez`)).rejects.toThrow('fetch failed')
})

test('where it was told to', async () => {
  const port = await freePort()
  const launcher = await start('--admin', String(port))
  expect((await launcher.status()).admin).toBe(`http://127.0.0.1:${port}`)
  expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200)
})

test('--admin off: nowhere', async () => {
  const launcher = await start('--admin', 'off')
  expect((await launcher.status()).admin).toBeUndefined()
  expect(launcher.said(/ready on/)).toHaveLength(1)
  expect(launcher.said(/admin/)).toEqual([])
})

test('an address that is taken is refused where it was asked for, and done without where it was not', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  cleanups.push(() => other.close())
  await waitFor(() => other.listening)
  const { port } = other.address() as { port: number }
  const runtime = makeRuntimeDir()
  cleanups.push(runtime.remove)
  const { code, err } = await cli([
    'start',
    join(FIXTURES, 'app.mjs'),
    ...['-p', '0', '--admin', String(port), '--runtime-dir', runtime.dir],
  ])
  expect(code).toBe(1)
  expect(err).toMatch(
    new RegExp(`^fastify-scale start: can't listen on the admin address 127\\.0\\.0\\.1:${port}: .*EADDRINUSE.*\n$`),
  )

  const primary = { name: 'x', slots: [], events: new EventEmitter(), workers: () => [], state: 'running' } as unknown
  const said: string[] = []
  const services = await startServices(primary as Primary, {
    admin: { host: '127.0.0.1', port, optional: true },
    onError: (error, what) => void said.push(`${what}: ${(error as { code: string }).code}`),
  })
  cleanups.push(services.close)
  expect(services.admin).toBeUndefined()
  expect(services.status().admin).toBeUndefined()
  expect(said).toEqual(['admin pages: SCALE_CLUSTER_ADMIN_ADDRESS'])
})
