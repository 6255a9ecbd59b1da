import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Services, startServices } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { doctor, findingsOf, type Found, run } from './run.ts'

const here = new URL('.', import.meta.url).pathname
const root = new URL('../../', import.meta.url).pathname
let work: string

beforeAll(async () => {
  // Inside this folder, so that the apps find their dependencies.
  work = await mkdtemp(join(here, 'tmp-'))
})
afterAll(() => rm(work, { recursive: true, force: true }))

async function copyOf(app: string): Promise<string> {
  const folder = join(work, app)
  await cp(join(here, 'apps', app), folder, { recursive: true })
  return join(folder, 'app.js')
}

describe('an app with every fault', () => {
  let found: Found
  const of = (kind: string) => found.findings.filter((finding) => finding.kind === kind)

  beforeAll(async () => {
    found = await findingsOf(await copyOf('faulty'), ['--requests', join(here, 'requests.json')])
  })

  test.each([
    ['differs-by-worker', /GET \/instance/, 'app.js:24'],
    ['state-in-process', /GET \/visits counts/, 'app.js:25'],
    ['state-in-process', /after POST \/todos .* GET \/todos/, 'app.js:27'],
    ['session-in-process', /@fastify\/session keeps sessions/, 'app.js:14'],
    ['session-in-process', /after POST \/login .* GET \/me/, 'app.js:33'],
    ['store-in-process', /@fastify\/rate-limit/, 'app.js:15'],
    ['file-written', /POST \/todos writes uploads\.txt/, 'app.js:30'],
    ['interval', /3600000 ms/, 'app.js:17'],
    ['socketio-polling', /poll/, 'app.js:21'],
    ['socketio-no-adapter', /no adapter/, 'app.js:21'],
  ])('%s is found, with its place', (kind, message, at) => {
    expect(of(kind)).toContainEqual(expect.objectContaining({ message: expect.stringMatching(message) as string, at }))
  })

  test('and nothing else: a clock and a random number are no state', () => {
    expect(found.findings).toHaveLength(10)
    expect(JSON.stringify(found.findings)).not.toContain('/time')
  })

  test('the module that keeps the state is a candidate', () => {
    const [todos] = found.findings.filter(({ message }) => message.includes('GET /todos'))
    expect(todos?.candidates).toEqual(expect.arrayContaining(['todos.js:1', 'app.js:10']))
  })

  test('the report for people names the cure, and the exit code says that there is something', async () => {
    const { code, out } = await doctor(join(work, 'faulty/app.js'))
    expect(code).toBe(1)
    expect(out).toContain('cure: @fastify-scale/realtime')
    expect(out).toMatch(/\d findings \(\d+ requests to 3 workers\)/)
  })
})

test('an app that only looks suspicious has no finding', async () => {
  const requests = join(work, 'echo.json')
  await writeFile(requests, JSON.stringify([{ method: 'post', url: '/echo', body: { a: 1 } }]))
  const app = await copyOf('clean')
  const closed = join(work, 'closed')
  const found = await findingsOf(app, ['--requests', requests], { CLOSED: closed })
  // What does not end is left alone, and said.
  expect(found).toMatchObject({ findings: [], notCompared: ['GET /events', 'GET /stream'] })
  expect(await readFile(closed, 'utf8')).toBe('events stream ')
})

test('a fault is found behind what is harmless, and only what the app loads is a candidate', async () => {
  const requests = join(work, 'todo.json')
  await writeFile(requests, JSON.stringify([{ method: 'POST', url: '/todos', body: { title: 'buy milk' } }]))
  const { findings } = await findingsOf(await copyOf('hidden'), ['--requests', requests])
  expect(findings).toEqual([
    expect.objectContaining({
      kind: 'state-in-process',
      message: expect.stringMatching(/after POST \/todos .* GET \/todos/) as string,
      candidates: ['todos.js:1'],
    }),
    expect.objectContaining({ kind: 'store-in-process', at: 'app.js:5' }),
  ])
})

describe('the photo board', () => {
  let services: Services
  beforeAll(async () => {
    services = await startServices({ env: {} })
  }, 240_000)
  afterAll(() => services.stop())

  test('has no finding, with a user who signs up, logs in and logs out', async () => {
    const requests = join(work, 'board.json')
    const user = { name: 'anna', password: 'correct horse battery' }
    await writeFile(
      requests,
      JSON.stringify([
        { method: 'POST', url: '/api/signup', body: user },
        { method: 'POST', url: '/api/login', body: user },
        { method: 'POST', url: '/api/logout', headers: { 'sec-fetch-site': 'same-origin' } },
      ]),
    )
    const env = { ...services.env, JWT_SECRET: 'q3Jx8Lw0ZbYt5VnRk2PdHs7MfGc9TaUe4XoKi6Nv1Bj' }
    const found = await findingsOf(join(root, 'example-app/dist/app.js'), ['--requests', requests], env)
    expect(found.findings).toEqual([])
    expect(found.requests).toBeGreaterThan(20)
  }, 180_000)
})

describe('ordinary apps, as the templates of fastify-cli make them', () => {
  test.each(['app', 'app-esm'])('%s: its in-memory parts are none, and none are found', async (template) => {
    const folder = join(work, `template-${template}`)
    await cp(join(root, 'test/node_modules/fastify-cli/templates', template), folder, { recursive: true })
    await writeFile(
      join(folder, 'package.json'),
      JSON.stringify({ name: template, type: template.endsWith('esm') ? 'module' : 'commonjs' }),
    )
    expect(await findingsOf(join(folder, 'app.js'))).toMatchObject({ findings: [] })
  })

  test('app-ts, compiled', async () => {
    const folder = join(work, 'template-app-ts')
    await cp(join(root, 'test/node_modules/fastify-cli/templates/app-ts'), folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'app-ts', type: 'commonjs' }))
    await run(
      join(root, 'node_modules/.bin/tsc'),
      [
        '--ignoreConfig',
        '--outDir',
        'dist',
        '--rootDir',
        'src',
        '--module',
        'nodenext',
        '--target',
        'es2023',
        '--skipLibCheck',
        '--types',
        'node',
        '--noCheck',
        'src/app.ts',
      ],
      { cwd: folder },
    )
    await cp(join(folder, 'src'), join(folder, 'dist'), { recursive: true, filter: (path) => !path.endsWith('.ts') })
    expect(await findingsOf(join(folder, 'dist/app.js'))).toMatchObject({ findings: [] })
  })
})

test.each([
  [[], 2, /which app\?/],
  [['nowhere.js'], 1, /there is no app at/],
  [[join(here, 'apps/clean/app.js'), '--workers', '1'], 2, /from 2 to 16/],
  [[join(here, 'apps/clean/app.js'), '--requests', 'nowhere.json'], 2, /nowhere\.json/],
])('called wrongly (%j) it says so in one line', async (args, code, message) => {
  const result = await doctor(args[0], args.slice(1))
  expect(result.code).toBe(code)
  expect(result.err).toMatch(message)
  expect(result.err.trim().split('\n')).toHaveLength(1)
})
