import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { withLock } from '../src/lock.ts'
import { makeRunDir } from '../src/run-dir.ts'

/** Where another process has pids of its own and the same host name, as some containers and sandboxes have. */
const elsewhere = ['-p', '--fork', '--mount-proc', process.execPath, '--input-type=module', '-e']
const possible = spawnSync('unshare', [...elsewhere, '']).status === 0

const dist = (name: string): string => new URL(`../dist/${name}.js`, import.meta.url).href

describe.runIf(possible)('who has pids of its own and shares the cache', () => {
  const cache = mkdtempSync(join(tmpdir(), 'dev-services-'))
  afterAll(() => rmSync(cache, { recursive: true, force: true }))
  const run = (source: string): string => execFileSync('unshare', [...elsewhere, source], { encoding: 'utf8' })

  test('leaves the data of servers that run alone', async () => {
    const base = join(cache, 'run')
    const mine = await makeRunDir(base)
    run(`import { makeRunDir } from '${dist('run-dir')}'; await makeRunDir('${base}')`)
    expect(existsSync(mine)).toBe(true)
  })

  test('does not take a lock that is held', async () => {
    const path = join(cache, 'lock')
    const source = `import { withLock } from '${dist('lock')}'
      await withLock('${path}', () => console.log('taken'), () => { console.log('waits'); process.exit() })`
    await withLock(path, async () => {
      expect(run(source)).toBe('waits\n')
      expect(existsSync(join(path, 'holder'))).toBe(true)
    })
  })
})
