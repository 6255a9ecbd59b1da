import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync, existsSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type DebianTool, debianTool } from '../src/index.ts'
import { withLock } from '../src/lock.ts'
import { PID_SPACE } from '../src/pid-space.ts'
import { runNode } from './run.ts'

const run = promisify(execFile)

function emptyDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'dev-services-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function debianDir(cache: string): string {
  const base = join(cache, 'debian')
  return join(base, readdirSync(base)[0] ?? '')
}

// A machine on which Redis is installed would never fetch.
const PATH = '/usr/bin:/bin'

describe('fetching', () => {
  test('two processes at once fetch once; the next start fetches nothing; a broken-off fetch and stale lists are repaired', async () => {
    const cache = emptyDir()
    const env = { FASTIFY_SCALE_CACHE: cache, PATH }
    const runs = [
      runNode('fixtures/start.mjs', ['redis', 'once'], env),
      runNode('fixtures/start.mjs', ['redis', 'once'], env),
    ]
    expect(await Promise.all(runs.map(({ ended }) => ended))).toEqual([0, 0])
    const output = runs.map(({ stderr }) => stderr).join('')
    expect(output.match(/^fetched redis-server/gm)).toHaveLength(1)
    expect(readdirSync(join(cache, 'run'))).toEqual([])

    const again = runNode('fixtures/start.mjs', ['redis', 'once'], env)
    expect(await again.ended).toBe(0)
    expect(again.stderr).toBe('')

    const base = debianDir(cache)
    expect(readdirSync(base).toSorted()).toEqual(['apt', 'redis'])
    rmSync(join(base, 'redis'), { recursive: true })
    // What a process leaves that is killed while it fetches, and lists that don't name what is looked for.
    mkdirSync(join(base, 'unfinished-1', 'root'), { recursive: true })
    mkdirSync(join(base, 'fetch.lock'))
    writeFileSync(join(base, 'fetch.lock', 'holder'), `${PID_SPACE} ${2 ** 22 + 1} gone`)
    rmSync(join(base, 'apt', 'lists'), { recursive: true })
    const repaired = runNode('fixtures/start.mjs', ['redis', 'once'], env)
    expect(await repaired.outcome()).toMatchObject({ code: 0 })
    expect(readdirSync(base).toSorted()).toEqual(['apt', 'redis'])
  }, 120_000)

  test('a killed fetch leaves nothing that passes for a whole one', async () => {
    const cache = emptyDir()
    const env = { FASTIFY_SCALE_CACHE: cache, PATH }
    const first = runNode('fixtures/start.mjs', ['redis', 'once'], env)
    await new Promise<void>((resolve) => first.child.stderr?.once('data', () => resolve()))
    first.child.kill('SIGKILL')
    await first.ended
    const second = runNode('fixtures/start.mjs', ['redis', 'once'], env)
    expect(await second.outcome()).toMatchObject({ code: 0 })
  }, 120_000)

  test.runIf(process.getuid?.() === 0)(
    'as an ordinary user, from nothing',
    async () => {
      const cache = emptyDir()
      const nobody = Number((await run('id', ['-u', 'nobody'])).stdout)
      await run('chown', [String(nobody), cache])
      const script = new URL('fixtures/start.mjs', import.meta.url).pathname
      for (const what of ['redis', 'postgres']) {
        const { stdout, stderr } = await run(process.execPath, [script, what, 'once'], {
          uid: nobody,
          gid: nobody,
          env: { ...process.env, FASTIFY_SCALE_CACHE: cache, PATH, HOME: cache },
        })
        expect(stdout + stderr).not.toMatch(/error/i)
      }
      expect(statSync(debianDir(cache)).uid).toBe(nobody)
      const denied = run(process.execPath, [script, 'redis', 'once'], {
        uid: nobody,
        gid: nobody,
        env: { ...process.env, FASTIFY_SCALE_CACHE: '/etc', PATH },
      })
      await expect(denied).rejects.toThrow(/cannot write to the cache directory \/etc .*set FASTIFY_SCALE_CACHE/)
    },
    120_000,
  )

  test.runIf(process.getuid?.() === 0)('PostgreSQL as root below a directory that only root may enter', async () => {
    const cache = emptyDir()
    const started = runNode('fixtures/start.mjs', ['postgres', 'once'], { FASTIFY_SCALE_CACHE: join(cache, 'inner') })
    expect(statSync(cache).mode & 0o077).toBe(0)
    expect(await started.outcome()).toMatchObject({ code: 0 })
  })
})

/** A page as Chromium has it after its scripts have run. */
async function rendered({ path, args, env }: DebianTool, page: string): Promise<string> {
  const { stdout } = await run(path, [...args, `--user-data-dir=${emptyDir()}`, '--dump-dom', page], {
    env: { ...process.env, ...env },
    timeout: 60_000,
  })
  return stdout
}

describe('debianTool', () => {
  test.each([
    ['nginx', ['-v'], /nginx version/],
    ['haproxy', ['-v'], /HAProxy version/i],
    ['wrk', ['-v'], /wrk /],
    ['ab', ['-V'], /ApacheBench/],
  ])(
    '%s runs',
    async (name, args, expected) => {
      const tool = await debianTool(name)
      // Some of them exit with 1 after printing their version.
      const options = { env: { ...process.env, ...tool.env } }
      const { stdout, stderr } = await run(tool.path, [...tool.args, ...args], options).catch((error) => error)
      expect(stdout + stderr).toMatch(expected)
    },
    120_000,
  )

  test('chromium renders a page', async () => {
    const tool = await debianTool('chromium')
    const page = 'data:text/html,<p id=x></p><script>x.textContent = 6 * 7</script>'
    expect(await rendered(tool, page)).toContain('>42</p>')
  }, 180_000)

  test('chromium has its fonts where the cache was moved to another place', async ({ skip }) => {
    const root = (await debianTool('chromium')).path.split('/tool-chromium/')
    if (root.length === 1) skip('it is installed here: nothing was fetched')
    const cache = emptyDir()
    const moved = join(cache, 'debian', basename(root[0] as string), 'tool-chromium')
    mkdirSync(dirname(moved), { recursive: true })
    await run('cp', ['-al', join(root[0] as string, 'tool-chromium'), moved])
    // As it was written in a place that is no more.
    rmSync(join(moved, 'fonts.conf'), { force: true })
    writeFileSync(join(moved, 'fonts.conf'), '<fontconfig><dir>/nowhere</dir></fontconfig>')
    vi.stubEnv('FASTIFY_SCALE_CACHE', cache)
    const tool = await debianTool('chromium').finally(() => vi.unstubAllEnvs())
    expect(tool.path).toContain(moved)
    const page = 'data:text/html,<span id=x>wide</span><script>x.title = x.offsetWidth > 10</script>'
    expect(await rendered(tool, page)).toContain('title="true"')
  }, 180_000)

  test('what is no tool is refused', async () => {
    await expect(debianTool('../x')).rejects.toMatchObject({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' })
    await expect(debianTool('no-such-package-anywhere')).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_FETCH_FAILED',
      message: expect.stringContaining('no-such-package-anywhere'),
    })
  }, 120_000)
})

describe('withLock', () => {
  test('one at a time', async () => {
    const path = join(emptyDir(), 'lock')
    let inside = 0
    let most = 0
    let waited = 0
    const work = async (): Promise<void> => {
      most = Math.max(most, ++inside)
      await new Promise((resolve) => setTimeout(resolve, 20))
      inside--
    }
    await Promise.all(Array.from({ length: 5 }, () => withLock(path, work, () => waited++)))
    expect(most).toBe(1)
    expect(waited).toBe(4)
    expect(existsSync(path)).toBe(false)
  })

  test('is released when the work fails', async () => {
    const path = join(emptyDir(), 'lock')
    await expect(withLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withLock(path, async () => 'yes')).toBe('yes')
  })

  test('is taken over from a process that is gone, and from one on another host that gives no sign of life', async () => {
    const path = join(emptyDir(), 'lock')
    for (const [holder, age] of [
      [`${PID_SPACE} ${2 ** 22 + 1} gone`, 0],
      ['elsewhere 1 silent', 60_000],
    ] as const) {
      mkdirSync(path)
      writeFileSync(join(path, 'holder'), holder)
      const then = new Date(Date.now() - age)
      utimesSync(path, then, then)
      expect(await withLock(path, async () => 'mine')).toBe('mine')
    }
  })
})
