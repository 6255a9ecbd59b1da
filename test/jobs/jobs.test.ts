import { fileURLToPath } from 'node:url'
import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Run, judgeRuns, ticksBetween } from '../../packages/jobs/test/judge.ts'
import { type Host, startHost } from './launchers.ts'

const SOAK = process.env['SOAK'] === '1'
const JOBS = SOAK ? 1_000 : 200
const KILLS = SOAK ? 30 : 4
const REDIS_AWAY_MS = SOAK ? 3_000 : 1_500
const CRON_SECONDS = SOAK ? 30 : 8

let redis: RedisServer
let notes: Redis
let hosts: Host[] = []
/** When each process was sent its end, by pid. */
const ended = new Map<number, number>()

beforeAll(async () => {
  redis = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
  notes = new Redis(redis.url)
  notes.on('error', () => undefined)
})
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()))
})
afterAll(async () => {
  notes?.disconnect()
  await redis?.stop()
})

/** Two machines of one service, with two job processes each. */
async function startHosts(prefix: string, env: Record<string, string>): Promise<Host[]> {
  const app = fileURLToPath(new URL('app.mjs', import.meta.url))
  const options = { app, name: prefix, jobWorkers: 2, env: { REDIS_URL: redis.url, PREFIX: prefix, ...env } }
  hosts = [await startHost(options), await startHost(options)]
  return hosts
}

const read = async (list: string): Promise<Run[]> =>
  (await notes.lrange(list, 0, -1)).map((text) => JSON.parse(text) as Run)

/** The processes that have begun more jobs than they have done. */
async function atWork(prefix: string): Promise<Set<number>> {
  const [runs, done] = await Promise.all([read(`${prefix}-runs`), read(`${prefix}-done`)])
  const open = new Map<number, number>()
  for (const { pid } of runs) open.set(pid, (open.get(pid) ?? 0) + 1)
  for (const { pid } of done) open.set(pid, (open.get(pid) ?? 0) - 1)
  return new Set([...open].filter(([, count]) => count > 0).map(([pid]) => pid))
}

const jobProcesses = async (): Promise<number[]> => (await Promise.all(hosts.map((host) => host.jobProcesses()))).flat()

/** False where it has just ended by itself: a reload replaces it. */
function kill(pid: number): boolean {
  const at = Date.now()
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
  ended.set(pid, at)
  return true
}

/** Does something every so many ms until told to stop; what it throws `stop` throws. */
function every(ms: number, act: (turn: number) => Promise<void>): { stop(): Promise<void> } {
  const stopped = new AbortController()
  const done = (async () => {
    for (let turn = 0; !stopped.signal.aborted; turn++) {
      const start = performance.now()
      await act(turn)
      await waitFor(() => stopped.signal.aborted || performance.now() - start >= ms, { timeout: ms * 5 })
    }
  })()
  done.catch(() => undefined)
  return {
    async stop() {
      stopped.abort()
      await done
    },
  }
}

test(`2 launchers x 2 job processes, ${JOBS} jobs, a SIGKILL every second, Redis stopped for ${REDIS_AWAY_MS} ms`, async () => {
  const prefix = 'jobs-attack'
  const [first] = (await startHosts(prefix, { LOCK: SOAK ? '10s' : '5s' })) as [Host]
  const killed: number[] = []
  const attack = every(1_000, async () => {
    const alive = (await jobProcesses()).filter((one) => !ended.has(one)).sort(() => Math.random() - 0.5)
    // One with a job in hand, where there is one: some may only be starting.
    const busy = await atWork(prefix)
    const pid = alive.find((one) => busy.has(one)) ?? alive[0]
    if (pid === undefined) return
    if (kill(pid)) killed.push(pid)
  })

  // Each is added by both machines, as by a client that did not hear the answer and asks again elsewhere.
  const ids = new Map<number, Set<string>>()
  let refused = 0
  async function add(n: number): Promise<void> {
    for (const { url } of hosts)
      for (let acknowledged = false; !acknowledged; ) {
        const answer = await fetch(`${url}/units/${n}`, { method: 'POST' })
        const { id, code } = (await answer.json()) as { id: string; code: string }
        acknowledged = answer.status === 201
        if (acknowledged) ids.set(n, (ids.get(n) ?? new Set()).add(id))
        else {
          refused++
          // Nothing but the documented answer.
          expect([answer.status, code]).toEqual([503, 'SCALE_JOBS_UNAVAILABLE'])
        }
      }
  }
  const spread = (SOAK ? 20_000 : 6_000) / JOBS
  const start = performance.now()
  const adding = Promise.all(
    Array.from({ length: JOBS }, async (_, n) => {
      await waitFor(() => performance.now() - start >= n * spread, { timeout: 60_000 })
      await add(n)
    }),
  )
  await waitFor(() => ids.size > JOBS / 3, { timeout: 60_000 })
  redis.freeze()
  const away = performance.now()
  await waitFor(() => performance.now() - away >= REDIS_AWAY_MS, { timeout: REDIS_AWAY_MS * 5 })
  redis.thaw()
  await adding
  await waitFor(() => killed.length >= KILLS, { timeout: 120_000 })
  await attack.stop()

  await waitFor(
    async () => {
      const { completed, waiting, active, delayed } = (await (await fetch(`${first.url}/counts`)).json()) as Record<
        'completed' | 'waiting' | 'active' | 'delayed',
        number
      >
      return completed === JOBS && waiting + active + delayed === 0
    },
    { timeout: 120_000, interval: 200 },
  )
  expect(new Set((await read(`${prefix}-done`)).map(({ n }) => n)).size).toBe(JOBS)
  expect(await (await fetch(`${first.url}/dead`)).json()).toEqual([])

  const runs = await read(`${prefix}-runs`)
  const { wrong, reruns } = judgeRuns(runs, JOBS, ids, ended)
  process.stdout.write(
    `jobs: ${JOBS} of ${JOBS} done, ${runs.length} runs, ${reruns} reruns, ${killed.length} kills, ${refused} adds refused and repeated\n`,
  )
  expect(wrong).toEqual([])
  expect(reruns).toBeGreaterThan(0)
}, 300_000)

test(`a cron job every second over 2 launchers x 2 job processes for ${CRON_SECONDS} s, with kills and reloads`, async () => {
  const prefix = 'jobs-cron'
  const [first, second] = (await startHosts(prefix, { LOCK: '2s', CRON: '1' })) as [Host, Host]
  const from = Date.now()
  const replaced = new Set(await jobProcesses())
  let kills = 0
  // One job process is always left alive.
  const killing = every(1_000, async () => {
    const pids = await jobProcesses()
    if (pids.length < 2) return
    if (kill(pids[kills % pids.length] as number)) kills++
  })
  let reloads = 0
  const reloading = every(100, async (turn) => {
    // One whose new worker is killed before it is ready says so, and the old workers go on.
    await (turn % 2 === 0 ? first : second).order('reload').then(
      () => reloads++,
      () => undefined,
    )
  })
  await waitFor(() => Date.now() - from > CRON_SECONDS * 1_000 && reloads >= 2, { timeout: 120_000 })
  const to = Date.now()
  await Promise.all([killing.stop(), reloading.stop()])

  const due = ticksBetween(from, to)
  await waitFor(
    async () => {
      const seen = new Set((await read(`${prefix}-ticks`)).map(({ tick }) => tick))
      return due.every((tick) => seen.has(tick))
    },
    { timeout: 60_000, interval: 200, message: 'every tick has run' },
  )
  const runs = await read(`${prefix}-ticks`)
  const pids = new Set(runs.map(({ pid }) => pid))
  process.stdout.write(
    `cron: ${due.length} ticks of ${due.length} made one job each, ${runs.length} runs by ${pids.size} processes, ${kills} kills, ${reloads} reloads\n`,
  )
  for (const tick of due) {
    const mine = runs.filter((one) => one.tick === tick)
    expect([tick, new Set(mine.map(({ id }) => id)).size]).toEqual([tick, 1])
    // A second run is one whose process died under it, and knows.
    expect(mine.filter(({ reruns }) => reruns === 0).length).toBeLessThanOrEqual(1)
  }
  expect(kills).toBeGreaterThan(2)
  expect((await jobProcesses()).some((pid) => !replaced.has(pid))).toBe(true)
}, 300_000)
