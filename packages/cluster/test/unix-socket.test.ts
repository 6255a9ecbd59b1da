import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isAlive, waitFor } from './helpers.ts'
import { cli, FIXTURES, type Launcher, type Ran, startLauncher } from './launcher.ts'

let dir: string
let path: string
const cleanups: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fs-unix-'))
  path = join(dir, 'app.sock')
})
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true, force: true })
})

async function start(...args: string[]): Promise<Launcher> {
  const launcher = await startLauncher({ workers: '1', args: ['--socket', path, ...args] })
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

const refused = (): Promise<Ran> =>
  cli(['start', join(FIXTURES, 'app.mjs'), '--socket', path, '--runtime-dir', join(dir, 'run')])

function get(): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request({ socketPath: path, path: '/' }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end()
  })
}

test.each(['round-robin', 'none'])('balance %s: one that a killed launcher left is taken over', async (balance) => {
  const first = await start('--balance', balance)
  expect(await get()).toBe(200)
  const [worker] = (await first.status()).slots
  process.kill(first.pid, 'SIGKILL')
  await first.ended
  await waitFor(() => !isAlive(worker?.pid as number))
  expect(statSync(path).isSocket()).toBe(true)
  const second = await start('--balance', balance)
  expect(await get()).toBe(200)
  expect(await second.stop()).toBe(0)
  expect(existsSync(path)).toBe(false)
})

test('one where somebody listens is not', async () => {
  const other = createServer((_request, response) => response.writeHead(204).end()).listen(path)
  cleanups.push(() => other.close())
  await waitFor(() => other.listening)
  const { code, err } = await refused()
  expect({ code, err }).toEqual({
    code: 1,
    err: `fastify-scale start: cannot listen on ${path}: it is in use by another process, or no socket (EADDRINUSE)\n`,
  })
  expect(await get()).toBe(204)
})

test('what is no socket is not removed', async () => {
  writeFileSync(path, 'precious')
  const { code, err } = await refused()
  expect(code).toBe(1)
  expect(err).toContain(`cannot listen on ${path}: it is in use by another process, or no socket (EADDRINUSE)`)
  expect(readFileSync(path, 'utf8')).toBe('precious')
})
