import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { FIXTURES, type Launcher, runClient, startLauncher } from './launcher.ts'
import { isAlive, waitFor } from './helpers.ts'

const SOAK = process.env.SOAK === '1'
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(options: Parameters<typeof startLauncher>[0] = {}): Promise<Launcher> {
  const launcher = await startLauncher(options)
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'fs-crash-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** An app whose next workers do what the flag says. */
function makeFlag(): { file: string; set(to: string): void; loads(): number } {
  const file = join(makeDir(), 'flag')
  writeFileSync(file, 'ok')
  return {
    file,
    set: (to) => writeFileSync(file, to),
    loads: () => readFileSync(`${file}.loads`, 'utf8').trim().split('\n').length,
  }
}

const readyPids = async (launcher: Launcher): Promise<number[]> =>
  (await launcher.status()).slots.flatMap(({ state, pid }) => (state === 'ready' && pid ? [pid] : []))

describe('kill -9 of a worker every second', () => {
  test('hangs nobody, and fails no more than what the killed ones had taken over', async () => {
    const dir = makeDir()
    const launcher = await start({ env: { COUNT_DIR: dir } })
    const requests = SOAK ? 100_000 : 5_000
    const kills = SOAK ? 30 : 6
    const killed = new Set<number>()
    let working = true
    const load = (async () => {
      const sum = { requests: 0, failures: 0, hangs: 0 }
      while (sum.requests < requests || killed.size < kills) {
        const result = await runClient('one', launcher.port, 1_000, 30, 0, { TARGET: '/slow?ms=20' })
        sum.requests += result.requests
        sum.failures += result.failures
        sum.hangs += result.hangs
      }
      working = false
      return sum
    })()
    while (working) {
      const pids = await readyPids(launcher)
      const victim = pids[killed.size % 2] ?? pids[0]
      if (victim !== undefined) {
        process.kill(victim, 'SIGKILL')
        killed.add(victim)
      }
      await Promise.race([load, new Promise((resolve) => setTimeout(resolve, 1_000))])
    }
    // The last kill may not have been heard of yet.
    await waitFor(() => [...killed].every((pid) => launcher.output.out.includes(`"workerPid":${pid}`)))
    const lines = launcher.output.out.split('\n')
    // A log reader keeps one of two equal keys: the launcher's pid and the worker's have names of their own.
    expect(lines.filter((line) => /"pid":.*"pid":/.test(line))).toEqual([])
    const { failures, hangs, requests: sent } = await load
    let unfinished = 0
    for (const pid of killed) {
      const [begun = 0, ended = 0] = readFileSync(join(dir, String(pid)), 'utf8')
        .trim()
        .split(/\s+/)
        .map(Number)
      unfinished += begun - ended
    }
    console.info(
      `${sent} requests, ${killed.size} kills: ${failures} failures of ${unfinished} taken over and not answered, ${hangs} hangs`,
    )
    expect(hangs).toBe(0)
    expect(failures).toBeLessThanOrEqual(unfinished)
  }, 900_000)

  test('with kept-alive connections: nobody hangs', async () => {
    const launcher = await start()
    let working = true
    const load = runClient('think', launcher.port, SOAK ? 100_000 : 3_000, 100, 100).finally(() => (working = false))
    while (working) {
      const [victim] = await readyPids(launcher)
      if (victim !== undefined) process.kill(victim, 'SIGKILL')
      await Promise.race([load, new Promise((resolve) => setTimeout(resolve, 1_000))])
    }
    const { requests, failures, hangs } = await load
    console.info(`${requests} requests on kept-alive connections: ${failures} failures, ${hangs} hangs`)
    expect(hangs).toBe(0)
  }, 900_000)

  test('the only worker: connections wait for the next one', async () => {
    const launcher = await start({ workers: '1' })
    const [pid] = await readyPids(launcher)
    process.kill(pid as number, 'SIGKILL')
    // The port stays open all the time.
    const { failures, hangs, requests } = await runClient('one', launcher.port, 200, 20)
    expect({ failures, hangs, requests }).toEqual({ failures: 0, hangs: 0, requests: 200 })
  })
})

describe('an app that stops being startable', () => {
  test('is tried a handful of times, what serves keeps serving, and a mended one comes back', async () => {
    const flag = makeFlag()
    const launcher = await start({ app: join(FIXTURES, 'flagged.mjs'), env: { FLAG: flag.file } })
    const [first, second] = (await readyPids(launcher)) as [number, number]
    flag.set('throw')
    const before = flag.loads()
    process.kill(first, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 10_000))
    const forks = flag.loads() - before
    expect(forks).toBeGreaterThan(0)
    expect(forks).toBeLessThanOrEqual(6)
    expect(await runClient('one', launcher.port, 50, 5)).toMatchObject({ failures: 0, hangs: 0, pids: 1 })
    expect(await readyPids(launcher)).toEqual([second])
    await waitFor(() => launcher.said(/can't be started any more .*this release is broken/).length === 1, {
      timeout: 30_000,
    })
    flag.set('ok')
    expect((await launcher.cli('reload')).code).toBe(0)
    expect(await readyPids(launcher)).toHaveLength(2)
  }, 90_000)

  test('ends the launcher with code 1 where nothing is left that serves', async () => {
    const flag = makeFlag()
    const launcher = await start({ app: join(FIXTURES, 'flagged.mjs'), workers: '1', env: { FLAG: flag.file } })
    flag.set('exit')
    process.kill((await readyPids(launcher))[0] as number, 'SIGKILL')
    await waitFor(() => launcher.child.exitCode !== null, { timeout: 60_000 })
    expect(launcher.child.exitCode).toBe(1)
    expect(launcher.said(/no worker serves and none can be started: exit code 7/)).toHaveLength(1)
  }, 90_000)

  test('ends it as well where the last one that served dies when the breaker is open', async () => {
    const flag = makeFlag()
    const launcher = await start({ app: join(FIXTURES, 'flagged.mjs'), env: { FLAG: flag.file } })
    const [first, second] = (await readyPids(launcher)) as [number, number]
    flag.set('throw')
    process.kill(first, 'SIGKILL')
    await waitFor(() => launcher.said(/can't be started any more .*1 worker still serve/).length === 1, {
      timeout: 60_000,
    })
    process.kill(second, 'SIGKILL')
    await waitFor(() => launcher.child.exitCode !== null, { timeout: 20_000 })
    expect(launcher.child.exitCode).toBe(1)
    expect(launcher.said(/no worker serves and none can be started: .*this release is broken/)).toHaveLength(1)
  }, 90_000)

  test('waits for a server that is away instead: no crash, no breaker', async () => {
    const flag = makeFlag()
    const launcher = await start({
      app: join(FIXTURES, 'flagged.mjs'),
      env: { FLAG: flag.file },
      args: ['--start-timeout', '5s'],
    })
    const [first] = (await readyPids(launcher)) as [number]
    flag.set('unready')
    const before = flag.loads()
    process.kill(first, 'SIGKILL')
    await waitFor(() => flag.loads() > before)
    // Longer than the start timeout: a worker that only waits is left alone.
    await new Promise((resolve) => setTimeout(resolve, 7_000))
    expect(flag.loads()).toBe(before + 1)
    flag.set('ok')
    await waitFor(async () => (await readyPids(launcher)).length === 2, { timeout: 30_000 })
    expect(flag.loads()).toBe(before + 1)
  }, 60_000)
})

describe('an app whose file is gone for a while, as when it is built anew', () => {
  const APP = "export default async (app) => { app.get('/', async () => ({ pid: process.pid })) }\n"

  test('and a worker that dies meanwhile: the others serve on, and it comes back with the file', async () => {
    const file = join(makeDir(), 'app.mjs')
    writeFileSync(file, APP)
    const launcher = await start({ app: file })
    const [first, second] = (await readyPids(launcher)) as [number, number]
    renameSync(file, `${file}.gone`)
    process.kill(first, 'SIGKILL')
    await waitFor(() => launcher.child.exitCode !== null || launcher.said(/there is no app at/).length > 0)
    expect(await runClient('one', launcher.port, 50, 5)).toMatchObject({ failures: 0, hangs: 0, pids: 1 })
    expect(await readyPids(launcher)).toEqual([second])
    expect((await launcher.cli('reload')).err).toMatch(/what served before still serves: .*there is no app at/)
    renameSync(`${file}.gone`, file)
    await waitFor(async () => (await readyPids(launcher)).length === 2, { timeout: 30_000 })
  }, 60_000)

  test('and nothing is left that serves: exit code 1', async () => {
    const file = join(makeDir(), 'app.mjs')
    writeFileSync(file, APP)
    const launcher = await start({ app: file, workers: '1' })
    const [pid] = (await readyPids(launcher)) as [number]
    rmSync(file)
    process.kill(pid, 'SIGKILL')
    expect(await launcher.ended).toBe(1)
    expect(launcher.said(/no worker serves and none can be started: there is no app at/)).toHaveLength(1)
    expect(launcher.output.err).toBe('')
  }, 60_000)

  test('right after the first worker is up: the others come with the file', async () => {
    const file = join(makeDir(), 'app.mjs')
    const leave = `import { existsSync, renameSync } from 'node:fs'
const [file, gone] = [import.meta.filename, import.meta.filename + '.gone']
if (!existsSync(gone)) renameSync(file, gone)
`
    writeFileSync(file, leave + APP)
    const launcher = await start({ app: file, workers: '3', dontWait: true })
    await waitFor(() => launcher.child.exitCode !== null || launcher.said(/there is no app at/).length > 0, {
      timeout: 30_000,
    })
    writeFileSync(file, APP)
    await waitFor(async () => (await readyPids(launcher)).length === 3, { timeout: 30_000 })
  }, 60_000)
})

// Those that end by themselves need none; the others are waited for.
const START_TIMEOUT: Record<string, string> = { hang: '5s', unready: '5s' }

describe('a broken release', () => {
  test.each([
    ['throw', 'this release is broken'],
    ['exit', 'exit code 7'],
    ['hang', 'did not become ready within 5000 ms'],
    ['unready', 'fixture: flag: the flag is down'],
  ])(
    'that does %s when it starts: the reload fails, the old one serves on without a failure',
    async (how, reason) => {
      const flag = makeFlag()
      const launcher = await start({
        app: join(FIXTURES, 'flagged.mjs'),
        env: { FLAG: flag.file },
        args: ['--start-timeout', START_TIMEOUT[how] ?? '30s'],
      })
      const before = await readyPids(launcher)
      const load = runClient('think', launcher.port, 600, 20, 50)
      flag.set(how)
      const { code, err, out } = await launcher.cli('reload')
      expect({ code, out }).toEqual({ code: 1, out: '' })
      expect(err.trim().split('\n')).toHaveLength(1)
      expect(err).toContain('what served before still serves')
      expect(err).toContain(reason)
      expect(await load).toMatchObject({ failures: 0, hangs: 0 })
      expect(await readyPids(launcher)).toEqual(before)
      flag.set('ok')
      expect((await launcher.cli('reload')).code).toBe(0)
      expect(await readyPids(launcher)).not.toEqual(before)
    },
    60_000,
  )
})

describe('a worker that hangs', () => {
  test('is replaced, and the other never stops answering', async () => {
    const launcher = await start({ args: ['--hang-timeout', '2s'] })
    const before = await readyPids(launcher)
    const hang = fetch(`${launcher.url}/hang`).then(
      () => 'answered',
      () => 'cut',
    )
    const load = runClient('one', launcher.port, 2_000, 10)
    await waitFor(() => launcher.said(/hangs: its event loop did not answer/).length === 1, { timeout: 30_000 })
    expect(await load).toMatchObject({ failures: 0, hangs: 0 })
    expect(await hang).toBe('cut')
    await waitFor(async () => (await readyPids(launcher)).length === 2, { timeout: 30_000 })
    const after = await readyPids(launcher)
    expect(after.filter((pid) => before.includes(pid))).toHaveLength(1)
  }, 60_000)
})

test('a hang timeout below a second ends who hangs, and nobody who is only idle', async () => {
  const launcher = await start({ args: ['--hang-timeout', '800ms'] })
  await waitFor(async () => (await launcher.status()).slots.every(({ uptime = 0 }) => uptime > 4_000), {
    timeout: 20_000,
  })
  expect((await launcher.status()).slots.map(({ restarts }) => restarts)).toEqual([0, 0])
  void fetch(`${launcher.url}/hang`).catch(() => undefined)
  await waitFor(() => launcher.said(/hangs: its event loop did not answer/).length === 1, { timeout: 20_000 })
}, 60_000)

describe('a worker that says nonsense', () => {
  test('well-formed messages with wrong content hurt nothing', async () => {
    const launcher = await start()
    const before = await readyPids(launcher)
    for (let i = 0; i < 5; i++) expect((await fetch(`${launcher.url}/odd`)).status).toBe(200)
    expect(await runClient('one', launcher.port, 200, 10)).toMatchObject({ failures: 0, hangs: 0 })
    expect(await readyPids(launcher)).toEqual(before)
  })

  test('bytes that are no message end that worker alone', async () => {
    const launcher = await start()
    const before = await readyPids(launcher)
    await fetch(`${launcher.url}/garbage`).catch(() => undefined)
    await waitFor(() => launcher.said(/that is no message .* and is replaced/).length === 1)
    await waitFor(
      async () => {
        const after = await readyPids(launcher)
        return after.length === 2 && after.filter((pid) => before.includes(pid)).length === 1
      },
      { timeout: 30_000 },
    )
    expect(await runClient('one', launcher.port, 200, 10)).toMatchObject({ failures: 0, hangs: 0 })
  })
})

test('an uncaught error is the reason that the status shows', async () => {
  const launcher = await start()
  await fetch(`${launcher.url}/crash`).catch(() => undefined)
  await waitFor(async () => (await launcher.status()).slots.some(({ lastExit }) => lastExit !== undefined))
  const { slots } = await launcher.status()
  expect(slots.find(({ lastExit }) => lastExit)?.lastExit).toMatchObject({
    reason: 'exit code 1: TypeError: crashed on purpose',
    wanted: false,
    code: 1,
  })
})

test('when the launcher is killed, nothing is left', async () => {
  const launcher = await start()
  const pids = await readyPids(launcher)
  process.kill(launcher.pid, 'SIGKILL')
  await waitFor(() => pids.every((pid) => !isAlive(pid)))
})
