import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { setInEnvFile } from '../src/env-file.ts'

let path: string
const read = (): string => readFileSync(path, 'utf8')
const ENV = { REDIS_URL: 'redis://new', S3_BUCKET: 'b' }
const block = (pid: number, text = 'REDIS_URL=redis://new\nS3_BUCKET=b\n'): string =>
  `# fastify-scale begin ${pid}\n${text}# fastify-scale end ${pid}\n`

beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), 'dev-services-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  path = join(dir, '.env')
})

/** The pid of a process that has ended. */
const gonePid = (): number => Number(execFileSync('/bin/sh', ['-c', 'echo $$'], { encoding: 'utf8' }))

test('what was written meanwhile stays', async () => {
  writeFileSync(path, 'MINE=1\nREDIS_URL=redis://mine\n')
  const restore = await setInEnvFile(path, ENV)
  expect(read()).toBe(`MINE=1\nREDIS_URL=redis://mine\n${block(process.pid)}`)
  writeFileSync(path, `NEW=2\n${read().replace('MINE=1', 'MINE=changed')}LATER=3\n`)
  await restore()
  expect(read()).toBe('NEW=2\nMINE=changed\nREDIS_URL=redis://mine\nLATER=3\n')
})

test('a file that was not there and has lines of its own now is kept', async () => {
  const restore = await setInEnvFile(path, ENV)
  writeFileSync(path, `${read()}MINE=1\n`)
  await restore()
  expect(read()).toBe('MINE=1\n')
})

test('a file that is gone stays gone', async () => {
  writeFileSync(path, 'MINE=1\n')
  const restore = await setInEnvFile(path, ENV)
  rmSync(path)
  await restore()
  expect(existsSync(path)).toBe(false)
})

test('what a killed process left goes at the next start, what one that runs has stays', async () => {
  writeFileSync(path, `MINE=1\n${block(gonePid())}${block(process.ppid, 'REDIS_URL=other\n')}MINE_TOO=1\n`)
  const restore = await setInEnvFile(path, ENV)
  const others = `MINE=1\n${block(process.ppid, 'REDIS_URL=other\n')}MINE_TOO=1\n`
  expect(read()).toBe(others + block(process.pid))
  await restore()
  expect(read()).toBe(others)

  writeFileSync(path, block(gonePid()))
  await (await setInEnvFile(path, ENV))()
  expect(existsSync(path)).toBe(false)
})

test('an editor with Windows line ends changes nothing about that', async () => {
  writeFileSync(path, 'MINE=1\n')
  const restore = await setInEnvFile(path, ENV)
  writeFileSync(path, read().replaceAll('\n', '\r\n'))
  await restore()
  expect(read()).toBe('MINE=1\r\n')
})

test('for Node.js the last line of a name is the one that counts', async () => {
  writeFileSync(path, 'REDIS_URL=redis://mine\n')
  await setInEnvFile(path, ENV)
  const print = ['-e', 'console.log(process.env.REDIS_URL)']
  const { REDIS_URL: _, ...env } = process.env
  expect(execFileSync(process.execPath, [`--env-file=${path}`, ...print], { env, encoding: 'utf8' })).toBe(
    'redis://new\n',
  )
})

test('a value is read as it is, whatever signs it has', async () => {
  const values = ['a#b', ' a ', `it's`, `"quoted"`, `'"`, '\\n $HOME ${x}', 'a=b', '']
  const env = Object.fromEntries(values.map((value, i) => [`V${i}`, value]))
  await setInEnvFile(path, env)
  const print = ['-p', 'JSON.stringify(Object.entries(process.env).filter(([name]) => /^V\\d$/.test(name)))']
  const read = execFileSync(process.execPath, [`--env-file=${path}`, ...print], { env: {}, encoding: 'utf8' })
  expect(Object.fromEntries(JSON.parse(read))).toEqual(env)
  await expect(setInEnvFile(path, { V: `'"\`` })).rejects.toMatchObject({
    code: 'SCALE_DEV_SERVICES_BAD_OPTION',
    message: expect.stringContaining('V '),
  })
})

test('a file that can not be written is told by its name', async () => {
  for (const wrong of [join(path, '..'), join(path, '..', 'nowhere', '.env')])
    await expect(setInEnvFile(wrong, ENV)).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_BAD_OPTION',
      message: expect.stringMatching(`--write-env ${wrong}.*: E`),
    })
})
