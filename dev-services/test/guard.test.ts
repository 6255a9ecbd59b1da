import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, describe, test } from 'vitest'
import { isAlive, killTree, spawnGuarded, waitFor } from '../src/index.ts'
import { childrenOf } from '../src/proc.ts'
import { CLI, runNode } from './run.ts'

/** Processes whose command line holds the text. */
function matching(text: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return (
          pid > 0 && pid !== process.pid && isAlive(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
        )
      } catch {
        return false
      }
    })
}

describe('spawnGuarded', () => {
  test('is spawn: pid, exit code, signal, environment, output', async () => {
    const child = spawnGuarded('/bin/sh', ['-c', 'echo $$ "$WORD" "$1"; exit 3', 'sh', 'a  b'], {
      env: { ...process.env, WORD: "it's" },
    })
    let output = ''
    child.stdout?.on('data', (chunk) => (output += chunk))
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect(output).toBe(`${child.pid} it's a  b\n`)
    expect(code).toBe(3)

    const killed = spawnGuarded('sleep', ['1000'])
    const signal = new Promise((resolve) => killed.on('exit', (_code, name) => resolve(name)))
    killed.kill('SIGTERM')
    expect(await signal).toBe('SIGTERM')
  })

  test('works with an IPC channel', async () => {
    const script = "process.on('message', (m) => { process.send({ got: m }); process.disconnect() })"
    const child = spawnGuarded(process.execPath, ['-e', script], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    child.send('hello')
    expect(await new Promise((resolve) => child.on('message', resolve))).toEqual({ got: 'hello' })
    await new Promise((resolve) => child.on('exit', resolve))
  })

  test('the child and its children are gone after SIGKILL of the parent, even if they are stopped or ignore signals', async () => {
    const mark = `guard-${process.pid}-${Date.now()}`
    const script = `trap '' TERM HUP INT; sh -c 'trap "" TERM HUP; echo up; read x </dev/zero; sleep 1000' ${mark} & wait`
    const run = runNode('fixtures/guarded.mjs', ['/bin/sh', '-c', script, mark])
    await waitFor(() => run.stdout.includes('up'))
    // The command and what it started; the first two are the fixture and the guard.
    const pids = matching(mark).filter((pid) => !/fixtures|fd=/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
    expect(pids).toHaveLength(2)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    run.child.kill('SIGKILL')
    await waitFor(() => matching(mark).length === 0)
  })

  test('what the command leaves behind ends with it, and no guard stays', async () => {
    const mark = `left-${process.pid}-${Date.now()}`
    const child = spawnGuarded('/bin/sh', ['-c', `sh -c 'while :; do sleep 1; done' ${mark} & exit 0`, mark])
    await new Promise((resolve) => child.on('exit', resolve))
    await waitFor(() => matching(mark).length === 0)
    expect(childrenOf(child.pid ?? 0)).toEqual([])
  })

  test('unref lets this process exit', async () => {
    const run = runNode('fixtures/start.mjs', ['redis', 'once'])
    expect(await run.ended).toBe(0)
  })
})

describe.each(['redis', 'postgres', 's3'])('%s', (what) => {
  test.each(what === 'postgres' ? ['', 'frozen'] : [''])(
    'no process is left after SIGKILL of the parent %s',
    async (mode) => {
      const run = runNode('fixtures/start.mjs', [what, mode])
      await waitFor(() => run.stdout.includes('\n'), { timeout: 60_000 })
      const { pid, pids } = JSON.parse(run.stdout) as { pid: number; pids: number[] }
      expect(pids.filter(isAlive)).toContain(pid)
      run.child.kill('SIGKILL')
      await waitFor(() => !pids.some(isAlive), { timeout: 15_000, message: `the end of ${what}` })
    },
  )
})

describe('the command line', () => {
  test('a signal during the fetch ends it and what it runs', async () => {
    const cache = mkdtempSync(join(tmpdir(), 'dev-services-'))
    onTestFinished(() => rmSync(cache, { recursive: true, force: true }))
    const run = runNode(CLI, ['--only', 'redis'], { FASTIFY_SCALE_CACHE: cache, PATH: '/usr/bin:/bin' })
    await waitFor(() => childrenOf(run.child.pid ?? 0).length > 0 && run.stderr.includes('fetching'), { interval: 1 })
    const pids = childrenOf(run.child.pid ?? 0)
    run.child.kill('SIGINT')
    expect(await run.ended).toBe('SIGINT')
    await waitFor(() => !pids.some(isAlive))
  })

  test('no process is left after SIGKILL, not even the command that it ran', async () => {
    const mark = `command-${process.pid}-${Date.now()}`
    const run = runNode(CLI, [
      'run',
      '--only',
      'redis',
      '--',
      '/bin/sh',
      '-c',
      'echo up; while :; do sleep 1; done',
      mark,
    ])
    await waitFor(() => run.stdout.includes('up'), { timeout: 60_000 })
    const pids = [...matching(mark), ...childrenOf(run.child.pid ?? 0)]
    expect(pids.length).toBeGreaterThanOrEqual(2)
    run.child.kill('SIGKILL')
    await waitFor(() => !pids.some(isAlive))
  })
})

describe('killTree', () => {
  test('ends children that have sessions of their own', async () => {
    const mark = `tree-${process.pid}-${Date.now()}`
    const script = `setsid sh -c 'echo up; while :; do sleep 1; done' ${mark} & wait`
    const child = spawnGuarded('/bin/sh', ['-c', script, mark], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    expect(matching(mark).length).toBeGreaterThanOrEqual(2)
    await killTree(child.pid ?? 0)
    await waitFor(() => matching(mark).length === 0)
  })

  test('a pid that is gone is no error', async () => {
    const child = spawnGuarded('true', [])
    await new Promise((resolve) => child.on('exit', resolve))
    expect(await killTree(child.pid ?? 0)).toBeUndefined()
  })

  test('a process is gone when its last thread is: from then on its port refuses', async () => {
    const server = `
      const worker = 'setInterval(() => {}, 1)'
      for (let i = 0; i < 4; i++) new (require('node:worker_threads').Worker)(worker, { eval: true })
      globalThis.heavy = Buffer.alloc(100_000_000, 1)
      const server = require('node:net').createServer(() => {}).listen(0, '127.0.0.1', () => {
        console.log(server.address().port)
      })`
    for (let run = 0; run < 5; run++) {
      const child = spawnGuarded(process.execPath, ['-e', server], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [said] = (await once(child.stdout as NodeJS.EventEmitter, 'data')) as [Buffer]
      child.kill('SIGKILL')
      // Without a break, so that the first moment is met.
      while (isAlive(child.pid as number));
      const socket = connect(Number(said.toString()), '127.0.0.1')
      onTestFinished(() => void socket.destroy())
      await expect(once(socket, 'connect')).rejects.toThrow('ECONNREFUSED')
    }
  })
})
