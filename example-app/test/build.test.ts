import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

test('the page is built wherever the checkout stands', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'photo-board-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const packages = here('../../packages')
  const app = join(dir, 'Büro #1, 100% mine', 'example-app')
  mkdirSync(app, { recursive: true })
  for (const name of ['web', 'vite.config.js', 'package.json'])
    cpSync(here(`../${name}`), join(app, name), { recursive: true })
  symlinkSync(here('../node_modules'), join(app, 'node_modules'))
  symlinkSync(packages, join(app, '..', 'packages'))
  await promisify(execFile)(process.execPath, [here('../node_modules/vite/bin/vite.js'), 'build'], { cwd: app })
  expect(readdirSync(join(app, 'dist/public'))).toContain('index.html')
}, 60_000)
