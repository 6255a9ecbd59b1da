import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Consumer, consumers, sources } from './consumers.ts'

const run = promisify(execFile)
const root = new URL('../../', import.meta.url).pathname
/** The compiler and the types of Node are the workspace's; all else is what the package brought. */
const COMPILER = [
  '--module',
  'nodenext',
  '--target',
  'es2023',
  '--strict',
  '--skipLibCheck',
  '--types',
  'node',
  '--typeRoots',
  join(root, 'node_modules/@types'),
  '--outDir',
  'out',
]
let redis: RedisServer
let work: string

const tarball = (name: string) => join(work, `${name}.tgz`)

beforeAll(async () => {
  redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
  work = await mkdtemp(join(tmpdir(), 'fastify-scale-alone-'))
  for (const name of ['kit', ...Object.keys(consumers)])
    await run('npx', ['pnpm', '-C', `packages/${name}`, 'pack', '--out', tarball(name)], { cwd: root })
}, 240_000)

afterAll(async () => {
  await redis.stop()
  await rm(work, { recursive: true, force: true })
})

describe.each(Object.keys(consumers))('%s installed alone from its tarball', (name) => {
  test('works in ESM, CommonJS and TypeScript, and brings no other package of the suite but kit', async () => {
    const folder = await mkdtemp(join(work, `${name}-`))
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true }))
    const install = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
    await run('npm', [...install, tarball('kit'), tarball(name), 'fastify@5'], {
      cwd: folder,
    })

    const brought = await readdir(join(folder, 'node_modules/@fastify-scale'))
    expect(brought.toSorted()).toEqual(['kit', name].toSorted())

    for (const [file, source] of Object.entries(sources(name))) await writeFile(join(folder, file), source)
    const compiled = await run(join(root, 'node_modules/.bin/tsc'), [...COMPILER, 'app.ts'], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    )
    expect(compiled.stdout).toBe('')
    const { expected } = consumers[name] as Consumer
    for (const file of ['app.mjs', 'app.cjs', 'out/app.js']) {
      const { stdout } = await run(process.execPath, [file], {
        cwd: folder,
        env: { ...process.env, REDIS_URL: redis.url },
        timeout: 60_000,
      })
      expect([file, JSON.parse(stdout)]).toEqual([file, expected])
    }
  }, 240_000)
})
