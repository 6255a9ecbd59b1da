import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { resolveOptions } from '../src/options.ts'
import { freePort } from './helpers.ts'
import { cli, startLauncher } from './launcher.ts'

let dir: string
const cleanups: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fs-deploy-'))
})
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true, force: true })
})

/** A folder with an app. */
function release(name: string, body = `app.get('/', async () => '${name}')`): string {
  mkdirSync(join(dir, name))
  writeFileSync(join(dir, name, 'app.mjs'), `export default async (app) => { ${body} }`)
  return join(dir, name)
}

describe('a symlink deploy', () => {
  test.each([
    ['the entry path', false],
    ['the working directory', true],
  ])('%s is followed anew at each reload', async (_, relative) => {
    const current = join(dir, 'current')
    symlinkSync(release('one'), current)
    const launcher = await startLauncher({
      workers: '1',
      ...(relative ? { app: 'app.mjs', cwd: current, env: { PWD: current } } : { app: join(current, 'app.mjs') }),
    })
    cleanups.push(() => launcher.stop('SIGKILL'))
    expect(await (await fetch(launcher.url)).text()).toBe('one')
    rmSync(current)
    symlinkSync(release('two'), current)
    expect((await launcher.cli('reload')).code).toBe(0)
    expect(await (await fetch(launcher.url)).text()).toBe('two')
  })
})

describe('where relative paths begin', () => {
  const { PWD } = process.env
  afterEach(() => {
    if (PWD === undefined) delete process.env.PWD
    else process.env.PWD = PWD
  })
  function begin(pwd: string): string {
    process.env.PWD = pwd
    return resolveOptions({ app: 'a' }).cwd
  }

  test('at $PWD, which names the working directory by its symlink', () => {
    const current = join(dir, 'current')
    symlinkSync(process.cwd(), current)
    expect(begin(current)).toBe(current)
  })

  test.each(['/', '/nowhere/at/all', '.', ''])('not at %j, which $PWD was left with', (pwd) => {
    expect(begin(pwd)).toBe(process.cwd())
  })

  test('whoever starts a launcher elsewhere, and leaves $PWD as it was, gets the app that is there', async () => {
    const [here, there] = ['here', 'there'].map((name) => release(name, `throw new RangeError('the app ${name}')`))
    const args = ['start', 'app.mjs', '-p', String(await freePort()), '--runtime-dir', join(dir, 'run')]
    const { code, err } = await cli(args, { cwd: here, env: { PWD: there } })
    expect(err).toBe('fastify-scale start: the app here\n')
    expect(code).toBe(1)
  })
})
