import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeProblems } from '../src/env.ts'
import { appModule, launcherCommand } from './support/board.ts'

const good = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://board:kI9fq2@db.internal:5432/board',
  REDIS_URL: 'redis://redis.internal:6379',
  S3_BUCKET: 'board',
  S3_ACCESS_KEY_ID: 'AKIAX4',
  S3_SECRET_ACCESS_KEY: 'o2f0cBLbzQ',
  PUBLIC_BASE_URL: 'https://cdn.board.test',
  PUBLIC_ORIGIN: 'https://board.test',
  JWT_SECRET: randomBytes(48)
    .toString('base64url')
    .replaceAll(/secret|example|password|change.?me|12345/gi, 'x'),
}

test('a complete environment is accepted', () => {
  expect(describeProblems(good)).toBeUndefined()
})

const required = [
  'DATABASE_URL',
  'REDIS_URL',
  'S3_BUCKET',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
  'JWT_SECRET',
  'PUBLIC_BASE_URL',
  'PUBLIC_ORIGIN',
] as const

test.each([
  ['SWEEP_OLDER_THAN', 'yesterday'],
  ['SWEEP_OLDER_THAN', '30s'],
  ['PUBLIC_BASE_URL', 'cdn.board.test'],
])('%s=%s is refused at once, by name', (name, value) => {
  for (const NODE_ENV of ['production', 'development'])
    expect(describeProblems({ ...good, NODE_ENV, [name]: value })).toMatch(new RegExp(`${name} is not .+\\(.+\\)`))
})

test.each(required)('production without %s is refused, by name', (name) => {
  for (const value of [undefined, ''])
    expect(describeProblems({ ...good, [name]: value })).toMatch(new RegExp(`${name} is missing \\(.+\\)`))
})

test.each([
  ['too short', { JWT_SECRET: 'k3J9' }, 'JWT_SECRET is too short'],
  ['a default', { JWT_SECRET: 'change-me-change-me-change-me-change-me' }, 'JWT_SECRET looks like an example'],
  ['a word', { JWT_SECRET: 'my-very-secret-secret-of-forty-characters' }, 'JWT_SECRET looks like an example'],
  ['one character', { JWT_SECRET: 'a'.repeat(64) }, 'JWT_SECRET looks like an example'],
  ['two words', { JWT_SECRET: 'abcabcabcabcabcabcabcabcabcabcabcabc' }, 'JWT_SECRET looks like an example'],
  ['default keys of S3', { S3_SECRET_ACCESS_KEY: 'minioadmin' }, 'S3_SECRET_ACCESS_KEY is a default'],
  [
    'default password of the database',
    { DATABASE_URL: 'postgres://postgres:postgres@db.internal/board' },
    'DATABASE_URL has a default password',
  ],
  ['http on a public host', { PUBLIC_ORIGIN: 'http://board.test' }, 'PUBLIC_ORIGIN must be https'],
  ['no origin', { PUBLIC_ORIGIN: 'board.test' }, 'PUBLIC_ORIGIN is not an origin'],
  ['a path', { PUBLIC_ORIGIN: 'https://board.test/app' }, 'PUBLIC_ORIGIN is not an origin'],
  ['an endpoint that is no URL', { S3_ENDPOINT: 's3.internal:9000' }, 'S3_ENDPOINT is not a URL'],
  ['an admin whom nobody can be', { ADMIN_NAMES: 'anna,jürgen' }, "ADMIN_NAMES has 'jürgen'"],
  ['no URL', { PUBLIC_BASE_URL: 'cdn.board.test' }, 'PUBLIC_BASE_URL is not a URL'],
])('production with %s is refused, by name', (_what, change, message) => {
  expect(describeProblems({ ...good, ...change })).toContain(message)
})

test('an empty variable that may be left out is left out', () => {
  expect(describeProblems({ ...good, S3_ENDPOINT: '', ADMIN_NAMES: '', PG_POOL_MAX: '' })).toBeUndefined()
})

test('http is good enough on the own machine, and for development', () => {
  expect(describeProblems({ ...good, PUBLIC_ORIGIN: 'http://localhost:3000' })).toBeUndefined()
  expect(describeProblems({ ...good, NODE_ENV: 'development', PUBLIC_ORIGIN: 'http://board.test' })).toBeUndefined()
})

test('all problems are told at once', () => {
  const said = describeProblems({ NODE_ENV: 'production' }) ?? ''
  for (const name of required) expect(said).toContain(`${name} is missing`)
  expect(said.split('\n')).toHaveLength(1)
})

test('the launcher ends with 1 and says what is missing', async () => {
  const { JWT_SECRET: _, PUBLIC_BASE_URL: __, ...rest } = good
  const env = { PATH: process.env['PATH'], ...rest, PUBLIC_ORIGIN: 'http://board.test' }
  const args = [launcherCommand, 'start', appModule, '--port', '0', '--workers', '1']
  const launcher = spawn(process.execPath, [...args, '--name', `env-${randomBytes(4).toString('hex')}`], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [launcher.stdout, launcher.stderr])
    stream.on('data', (data: Buffer) => {
      said += data.toString()
    })
  const [code] = (await once(launcher, 'close')) as [number | null]
  expect(code).toBe(1)
  for (const problem of ['JWT_SECRET is missing', 'PUBLIC_BASE_URL is missing', 'PUBLIC_ORIGIN must be https'])
    expect(said).toContain(problem)
}, 60_000)
