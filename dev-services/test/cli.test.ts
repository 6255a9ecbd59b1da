import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isAlive, startRedis, waitFor } from '../src/index.ts'
import { childrenOf } from '../src/proc.ts'
import { CLI, runNode } from './run.ts'

const ONLY = ['--only', 'redis']

describe('fastify-scale-dev-services', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'prints the variables, runs until %s, and ends everything',
    async (signal) => {
      const run = runNode(CLI, ['--only', 'redis,postgres'])
      await waitFor(() => run.stderr.includes('Running.'), { timeout: 60_000 })
      expect(run.stdout).toMatch(/^export REDIS_URL='redis:\/\/127\.0\.0\.1:\d+'$/m)
      expect(run.stdout).toMatch(/^export DATABASE_URL='postgres:\/\/.+'$/m)
      expect(run.stdout).not.toContain('S3_')
      const pids = childrenOf(run.child.pid ?? 0)
      expect(pids.length).toBeGreaterThanOrEqual(2)
      run.child.kill(signal)
      expect(await run.ended).toBe(0)
      await waitFor(() => !pids.some(isAlive))
    },
  )

  test('--write-env sets the variables while it runs, and puts the file back', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'dev-services-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const path = join(dir, '.env')
    const during = async (): Promise<string> => {
      const run = runNode(CLI, [...ONLY, '--write-env', path])
      await waitFor(() => run.stderr.includes('Running.'), { timeout: 60_000 })
      const text = readFileSync(path, 'utf8')
      run.child.kill('SIGINT')
      await run.ended
      return text
    }
    const block = '# fastify-scale begin \\d+\nREDIS_URL=redis://127\\.0\\.0\\.1:\\d+\n# fastify-scale end \\d+\n$'
    for (const before of ['A=1\n# comment\nREDIS_URL=old\nB=2\n', 'A=1\n\n\n', 'A=1', '']) {
      writeFileSync(path, before)
      const text = await during()
      expect(text).toMatch(new RegExp(block))
      expect(text.startsWith(before)).toBe(true)
      expect(readFileSync(path, 'utf8')).toBe(before)
    }
    rmSync(path)
    expect(await during()).toMatch(new RegExp(`^${block}`))
    expect(existsSync(path)).toBe(false)
  })

  test('what is printed is read by a shell as it is, and who reads no more ends nothing', async () => {
    const redis = await startRedis({ password: `it's` })
    onTestFinished(() => redis.stop())
    const url = redis.url.replace('%27', "'")
    const run = runNode(CLI, ONLY, { REDIS_URL: url })
    await waitFor(() => run.stderr.includes('Running.'), { timeout: 60_000 })
    const echo = ['-c', `${run.stdout}\nprintf %s "$REDIS_URL"`]
    expect(execFileSync('/bin/sh', echo, { encoding: 'utf8' })).toBe(url)

    const deaf = runNode('fixtures/closed-stdout.mjs', ONLY)
    await waitFor(() => deaf.stderr.includes('Running.'), { timeout: 60_000 })
    deaf.child.kill('SIGINT')
    expect(await deaf.outcome()).toMatchObject({ code: 0 })
  })

  test('run passes the variables in and the exit code out', async () => {
    const run = runNode(CLI, ['run', ...ONLY, '--', '/bin/sh', '-c', 'echo "$REDIS_URL" "$1"; exit 7', 'sh', '--only'])
    expect(await run.ended).toBe(7)
    expect(run.stdout).toMatch(/^redis:\/\/127\.0\.0\.1:\d+ --only\n$/)
  })

  test('run passes a signal to the command once, waits for it, and ends as it did', async () => {
    const script = 'trap "echo caught" TERM; echo up; while :; do sleep 0.1; done'
    const run = runNode(CLI, ['run', ...ONLY, '--', '/bin/sh', '-c', script])
    await waitFor(() => run.stdout.includes('up'), { timeout: 60_000 })
    run.child.kill('SIGTERM')
    await waitFor(() => run.stdout.includes('caught'))
    expect(run.child.exitCode).toBe(null)
    run.child.kill('SIGINT')
    expect(await run.ended).toBe('SIGINT')
    expect(run.stdout).toBe('up\ncaught\n')
  })

  test.each([
    [['--only', 'mysql'], /--only takes redis, s3, postgres, separated by commas: mysql/],
    [['--bogus'], /Unknown option '--bogus'/],
    [['start'], /unknown argument: start/],
    [['run'], /run needs a command/],
    [['--', 'true'], /a command needs `run` before it/],
  ])('%j is one line on stderr and exit code 1', async (args, expected) => {
    const run = runNode(CLI, args)
    expect(await run.ended).toBe(1)
    expect(run.stderr).toMatch(expected)
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  test('a given service that does not work: one line, exit code 1', async () => {
    const run = runNode(CLI, ONLY, { REDIS_URL: 'redis://127.0.0.1:1' })
    expect(await run.ended).toBe(1)
    expect(run.stderr).toBe(
      'fastify-scale-dev-services: REDIS_URL "redis://127.0.0.1:1" does not work: 127.0.0.1:1: ECONNREFUSED\n',
    )
  })

  test('a command that is not there', async () => {
    const run = runNode(CLI, ['run', ...ONLY, '--', 'no-such-command'])
    expect(await run.ended).toBe(127)
    expect(run.stderr).toContain('no-such-command')
  })
})
