import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import scaleJobs from '../src/index.ts'
import { type Run, judgeRuns, ticksBetween } from './judge.ts'

const SOAK = Boolean(process.env['SOAK'])

let redis: RedisServer
let notes: Redis
const children = new Set<ChildProcess>()
/** When each process was sent its end, by pid. */
const ended = new Map<number, number>()

beforeAll(async () => {
  redis = await startRedis()
  notes = new Redis(redis.url)
  notes.on('error', () => undefined)
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})
afterAll(async () => {
  notes.disconnect()
  await redis.stop()
})

async function start(options: { prefix: string; lock: string; cron?: boolean }): Promise<ChildProcess> {
  const child = fork(
    fileURLToPath(new URL('fixtures/job-process.mjs', import.meta.url)),
    [JSON.stringify({ redis: redis.url, ...options })],
    { execArgv: [] },
  )
  children.add(child)
  child.once('exit', () => children.delete(child))
  await Promise.race([once(child, 'message'), once(child, 'exit')])
  return child
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = once(child, 'exit')
  ended.set(child.pid as number, Date.now())
  child.kill(signal)
  await gone
}

async function read(list: string): Promise<Run[]> {
  return (await notes.lrange(list, 0, -1)).map((text) => JSON.parse(text) as Run)
}

/**
 * Ends one process after another, and starts another for each, until told to stop.
 *
 * @param options.oneDown waits until the others are up before it ends the next
 */
function killer(
  first: ChildProcess[],
  again: () => Promise<ChildProcess>,
  { every, signals, oneDown }: { every: number; signals: NodeJS.Signals[]; oneDown: boolean },
) {
  const processes = first.map((child) => Promise.resolve(child))
  let running = true
  let kills = 0
  const done = (async () => {
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, every))
      if (!running) break
      const index = kills % processes.length
      if (oneDown) await Promise.all(processes)
      await end(await (processes[index] as Promise<ChildProcess>), signals[kills % signals.length] as NodeJS.Signals)
      kills++
      processes[index] = again()
    }
    await Promise.all(processes)
  })()
  return {
    kills: () => kills,
    async stop() {
      running = false
      await done
    },
  }
}

const JOBS = SOAK ? 1_000 : 300
const LOCK = SOAK ? '10s' : '5s'
const STOPPED = SOAK ? 3_000 : 1_500

describe(`4 job processes, ${JOBS} jobs, a SIGKILL every second, Redis stopped for ${STOPPED} ms`, () => {
  test('every job that was acknowledged finishes, each key makes one job, a run follows only a death and is told of it', {
    timeout: 180_000,
  }, async () => {
    const prefix = 'attack'
    const options = { prefix, lock: LOCK }
    const processes = await Promise.all(Array.from({ length: 4 }, () => start(options)))
    const web = Fastify()
    await web.register(scaleJobs, { redis: redis.url, prefix, role: 'web', queues: { work: {} } })
    const unit = web.jobs.define<{ n: number }>('work.unit', () => undefined)
    await web.ready()
    const attack = killer(processes, () => start(options), { every: 1_000, signals: ['SIGKILL'], oneDown: false })

    const ids = new Map<number, Set<string>>()
    async function add(n: number): Promise<void> {
      // Each is added twice, as a client would that did not hear the answer.
      for (let acknowledged = 0; acknowledged < 2; ) {
        const added = await unit.add({ n }, { idempotencyKey: `unit:${n}` }).catch(() => undefined)
        if (!added) continue
        acknowledged++
        ids.set(n, (ids.get(n) ?? new Set()).add(added.id))
      }
    }
    const pacing = (SOAK ? 20_000 : 6_000) / JOBS
    const adding = Array.from({ length: JOBS }, async (_, n) => {
      await new Promise((resolve) => setTimeout(resolve, n * pacing))
      await add(n)
    })
    await waitFor(() => ids.size > JOBS / 3, { timeout: 60_000 })
    redis.freeze()
    await new Promise((resolve) => setTimeout(resolve, STOPPED))
    redis.thaw()
    await Promise.all(adding)
    await waitFor(() => attack.kills() >= 5, { timeout: 60_000 })
    await attack.stop()

    const finished = async () => new Set((await read(`${prefix}-done`)).map(({ n }) => n)).size
    await waitFor(async () => (await finished()) === JOBS, { timeout: 90_000, interval: 200 })
    await waitFor(
      async () => {
        const { completed, waiting, active, delayed } = await web.jobs.counts('work')
        return completed === JOBS && waiting + active + delayed === 0
      },
      { timeout: 60_000, interval: 200 },
    )

    const runs = await read(`${prefix}-runs`)
    const { wrong, reruns } = judgeRuns(runs, JOBS, ids, ended)
    expect(wrong).toEqual([])
    expect(reruns).toBeGreaterThan(0)
    expect(await web.jobs.deadLetters('work')).toEqual([])
    await web.close()
  })
})

const SECONDS = SOAK ? 30 : 8

describe(`a cron job every second over 4 processes for ${SECONDS} s, with kills and reloads`, () => {
  test('each tick makes exactly one job and none is lost', { timeout: 180_000 }, async () => {
    const prefix = 'cron'
    const options = { prefix, lock: '2s', cron: true }
    const processes = await Promise.all(Array.from({ length: 4 }, () => start(options)))
    const from = Date.now()
    const attack = killer(processes, () => start(options), {
      every: 500,
      signals: ['SIGKILL', 'SIGTERM'],
      oneDown: true,
    })
    await waitFor(() => Date.now() > from + SECONDS * 1_000, { timeout: (SECONDS + 5) * 1_000 })
    const to = Date.now()
    await attack.stop()
    expect(attack.kills()).toBeGreaterThan(2)

    const due = ticksBetween(from, to)
    await waitFor(
      async () => {
        const seen = new Set((await read(`${prefix}-ticks`)).map(({ tick }) => tick))
        return due.every((tick) => seen.has(tick))
      },
      { timeout: 60_000, interval: 200 },
    )
    const runs = await read(`${prefix}-ticks`)
    for (const tick of due) {
      const mine = runs.filter((run) => run.tick === tick)
      expect(new Set(mine.map(({ id }) => id)).size).toBe(1)
      // A second run is one whose process died under it.
      expect(mine.filter(({ reruns }) => reruns === 0).length).toBeLessThanOrEqual(1)
    }
  })
})
