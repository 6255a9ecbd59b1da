import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { collect, type Launcher, startLauncher } from './launcher.ts'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
let launcher: Launcher

beforeAll(async () => {
  launcher = await startLauncher({ workers: '1' })
})
afterAll(async () => {
  await launcher.stop()
})

test.each([
  ['logs', '--no-follow'],
  ['status', '--watch'],
])('%s %s ends quietly where nobody reads on, as in a pipe to head', async (...args) => {
  const target = ['--name', launcher.name, '--runtime-dir', launcher.runtimeDir]
  const child = spawn(process.execPath, [CLI, ...args, ...target], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout?.destroy()
  const { code, err } = await collect(child)
  expect(err).toBe('')
  expect(code).toBe(0)
})
