import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Consumer, consumers, sources } from './consumers.ts'

const run = promisify(execFile)
const root = new URL('../../', import.meta.url).pathname
const names = Object.keys(consumers)
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
  '--pretty',
  'false',
]
let redis: RedisServer
let work: string
/** What the compiler said of all of them: one run, as each would read the same libraries again. */
let compiled: string

const folder = (name: string) => join(work, name)
const tarball = (name: string) => join(work, `fastify-scale-${name}.tgz`)

/** An empty project with the package, what it depends on, Fastify, and the service. */
async function install(name: string): Promise<void> {
  await mkdir(folder(name))
  await writeFile(join(folder(name), 'package.json'), JSON.stringify({ private: true }))
  const options = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  await run('npm', ['install', ...options, tarball('kit'), tarball(name), 'fastify@5'], { cwd: folder(name) })
  for (const [file, source] of Object.entries(sources(name))) await writeFile(join(folder(name), file), source)
}

beforeAll(async () => {
  redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
  work = await mkdtemp(join(tmpdir(), 'fastify-scale-alone-'))
  await run('npx', ['pnpm', '-r', '--filter', './packages/*', 'pack', '--out', join(work, '%s.tgz')], { cwd: root })
  for (const name of names) await install(name)
  // Beside its source, where Node finds what the package brought.
  compiled = await run(
    join(root, 'node_modules/.bin/tsc'),
    [...COMPILER, ...names.map((name) => join(name, 'app.ts'))],
    { cwd: work },
  ).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  )
}, 480_000)

afterAll(async () => {
  await redis.stop()
  await rm(work, { recursive: true, force: true })
})

describe.each(names)('%s installed alone from its tarball', (name) => {
  test('works in ESM, CommonJS and TypeScript, and brings no other package of the suite but kit', async () => {
    const brought = await readdir(join(folder(name), 'node_modules/@fastify-scale'))
    expect(brought.toSorted()).toEqual(['kit', name].toSorted())

    // All but what is said of the others.
    const others = names.filter((other) => other !== name)
    const said = compiled.split('\n').filter((line) => line && !others.some((other) => line.startsWith(`${other}/`)))
    expect(said).toEqual([])
    const { expected } = consumers[name] as Consumer
    for (const file of ['app.mjs', 'app.cjs', 'app.js']) {
      const { stdout } = await run(process.execPath, [file], {
        cwd: folder(name),
        env: { ...process.env, REDIS_URL: redis.url },
        timeout: 60_000,
      })
      expect([file, JSON.parse(stdout)]).toEqual([file, expected])
    }
  }, 240_000)
})
