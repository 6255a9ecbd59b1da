import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  type PostgresServer,
  type RedisServer,
  type S3Server,
  startPostgres,
  startRedis,
  startS3,
  waitFor,
} from '@fastify-scale/dev-services'
import { pause } from '@fastify-scale/kit'
import { createRealtimeClient } from '@fastify-scale/realtime/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Board, boardEnv, launcherCommand, startBoard } from '../../example-app/test/support/board.ts'
import { type Answer, type Tokens, call, makePng, uploadPhoto } from '../../example-app/test/support/client.ts'
import { Model, randomFrom } from './model.ts'

const run = promisify(execFile)
const soak = process.env['SOAK'] === '1'
const USERS = soak ? 200 : 12
const SECONDS = soak ? 300 : 20
/** How long a user looks at the page at most, in ms: otherwise the load takes the time that a new worker needs to start. */
const THINK_MS = soak ? 8_000 : 60
const LIMIT = 100
/** What the README of auth promises, and the time that Redis is away. */
const REVOCATION_BOUND_MS = 5_000
const OUTAGE_MS = 3_000
/** How long auth gives the successor of a refresh token that was used again. */
const REUSE_GRACE_MS = 10_000
/** Of the dice of what a user does next. */
const REFRESH = 0.8

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))
const random = randomFrom(seed)
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T

interface Host {
  board: Board
  name: string
}

let redis: RedisServer
let postgres: PostgresServer
let s3: S3Server
let env: NodeJS.ProcessEnv
let hosts: Host[] = []
const model = new Model()
const picture = makePng(48)
let redisAway: { from: number; to: number } | undefined

async function startHost(name: string): Promise<Host> {
  return {
    name,
    board: await startBoard(env, ['--name', name, '--drain-timeout', '15s', '--start-timeout', '120s']),
  }
}

beforeAll(async () => {
  ;[redis, postgres, s3] = await Promise.all([
    startRedis({ args: ['--maxmemory-policy', 'noeviction'] }),
    startPostgres(),
    startS3(),
  ])
  env = {
    ...boardEnv({
      env: {
        REDIS_URL: redis.url,
        DATABASE_URL: await postgres.createDatabase(),
        S3_ENDPOINT: s3.endpoint,
        S3_REGION: s3.region,
        S3_BUCKET: s3.bucket,
        S3_ACCESS_KEY_ID: s3.accessKeyId,
        S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      },
      stop: async () => undefined,
    }),
    LOGIN_LIMIT: '100000',
    SIGNUP_LIMIT: '100000',
  }
  const unique = String(process.pid)
  hosts = [await startHost(`stateless-a-${unique}`), await startHost(`stateless-b-${unique}`)]
}, 240_000)

afterAll(async () => {
  await Promise.all(hosts.map(({ board }) => board.stop()))
  await Promise.all([redis?.stop(), postgres?.stop(), s3?.stop()])
}, 120_000)

/**
 * Sends a request to any worker of any host, on a connection of its own. A connection that breaks (its worker was killed) or a
 * documented 503 gives undefined: not acknowledged, so nothing is known. Anything else of 5xx is a violation.
 */
async function send<T>(what: string, work: (base: string) => Promise<Answer<T>>): Promise<Answer<T> | undefined> {
  model.counts.requests++
  const host = pick(hosts)
  try {
    const answer = await work(host.board.url)
    if (answer.status === 503) {
      model.counts.refused503++
      return undefined
    }
    if (answer.status >= 500) model.violate(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.status >= 500 ? undefined : answer
  } catch {
    model.counts.broken++
    return undefined
  }
}

interface Session extends Tokens {
  /** When it was told (performance.now()). */
  at: number
}

const isOld = ({ at, expiresIn }: Session): boolean => performance.now() - at > (expiresIn * 1_000) / 2

/**
 * Asks for new tokens until there is an answer, as a client does that hears none: the successor of a token that was used is
 * given again for 10 s. `undefined` where the session is over.
 */
async function refresh({ refreshToken }: Session): Promise<Session | undefined> {
  const start = performance.now()
  for (;;) {
    const asked = performance.now()
    const answer = await send<Tokens & { code?: string }>('refresh', (base) =>
      call(`${base}/api/session/refresh`, { method: 'POST', json: { refreshToken } }),
    )
    if (answer?.status === 200) return { ...answer.body, at: asked }
    if (answer) {
      const late = answer.body.code === 'SCALE_AUTH_REFRESH_REUSED' && performance.now() - start > REUSE_GRACE_MS
      if (late) model.counts.lateRefreshes++
      else model.violate(`refresh of a live session: ${answer.status} ${JSON.stringify(answer.body)}`)
      return undefined
    }
    await pause(50 + random() * 100)
  }
}

async function user(name: string, done: () => boolean): Promise<void> {
  const password = 'correct horse battery'
  let tokens: Session | undefined
  while (!done()) {
    await pause(random() * THINK_MS)
    if (!tokens) {
      const json = { name, password }
      const entered =
        (await send<Tokens>('sign-up', (base) => call(`${base}/api/signup`, { method: 'POST', json }))) ?? undefined
      const login =
        entered?.status === 201
          ? entered
          : await send<Tokens>('login', (base) => call(`${base}/api/login`, { method: 'POST', json }))
      if (login && login.status < 300) tokens = { ...login.body, at: performance.now() }
      continue
    }
    const { accessToken } = tokens
    const dice = isOld(tokens) ? REFRESH : random()
    if (dice < 0.25) {
      const answer = await send('upload', (base) => uploadPhoto(base, accessToken, `by ${name}`, picture))
      if (answer?.status === 201)
        model.acked({ id: answer.body.id, at: performance.now(), live: answer.headers['x-live'] === 'told' })
      else if (answer) model.violate(`upload: ${answer.status} ${JSON.stringify(answer.body)}`)
    } else if (dice < 0.75) {
      const askedAt = performance.now()
      const answer = await send<{ photos: { id: string }[] }>('list', (base) =>
        call(`${base}/api/photos?limit=${LIMIT}`),
      )
      if (answer?.status === 200)
        model.listed(
          answer.body.photos.map(({ id }) => id),
          askedAt,
          LIMIT,
          String(answer.headers['cache-status']),
        )
    } else if (dice < 0.85) {
      tokens = await refresh(tokens)
    } else if (dice < 0.92) {
      const answer = await send('logout', (base) => call(`${base}/api/logout`, { method: 'POST', token: accessToken }))
      if (answer?.status === 204) {
        model.ended.push({ token: accessToken, user: name, at: performance.now() })
        model.counts.logouts++
      }
      // Not acknowledged: it may or may not be ended, so this session is not used any more.
      if (!answer || answer.status === 204) tokens = undefined
    } else {
      const ended = pick(model.ended)
      const askedAt = performance.now()
      if (!ended) continue
      const answer = await send('a session that ended', (base) => call(`${base}/api/me`, { token: ended.token }))
      model.counts.checks++
      // While Redis is away nobody can be told; the bound runs from its return.
      const from = redisAway && ended.at < redisAway.to && askedAt > redisAway.from ? redisAway.to : ended.at
      if (answer?.status === 200 && askedAt - from > REVOCATION_BOUND_MS)
        model.violate(
          `a session of ${ended.user} works ${Math.round(askedAt - ended.at)} ms after its logout was acknowledged`,
        )
    }
  }
}

/** An open page: what it was shown live, and whether it was told to load anew. */
function openPage(
  base: string,
  getToken: () => Promise<string>,
): { seen: Set<string>; resyncs: number; close(): void } {
  const socket = createRealtimeClient<{ photo: (photo: { id: string }) => void }, Record<string, never>>(base, {
    getToken,
  })
  const page = { seen: new Set<string>(), resyncs: 0, close: () => void socket.disconnect() }
  // A photo comes again when its thumbnail is there.
  socket.on('photo', ({ id }) => page.seen.add(id))
  socket.onResync(() => page.resyncs++)
  void socket.join('board:main')
  return page
}

async function order(host: Host, ...words: string[]): Promise<string> {
  try {
    return (await run(process.execPath, [launcherCommand, ...words, '--name', host.name])).stdout
  } catch (error) {
    throw new Error(
      `${words.join(' ')}: ${(error as { stderr: string }).stderr}\n${host.board.output().slice(-3_000)}`,
      { cause: error },
    )
  }
}

async function slotsOf(host: Host): Promise<{ slot: number; pid?: number; state: string }[]> {
  return (
    JSON.parse(await order(host, 'status', '--json')) as { slots: { slot: number; pid?: number; state: string }[] }
  ).slots
}

const faults: Record<string, () => Promise<void>> = {
  async 'a worker is killed'() {
    const victims = (await slotsOf(pick(hosts))).filter(({ state }) => state === 'ready')
    const victim = pick(victims)
    if (victims.length > 1 && victim?.pid) process.kill(victim.pid, 'SIGKILL')
  },
  async 'a host is reloaded'() {
    await order(pick(hosts), 'reload')
  },
  async 'a host is scaled'() {
    const host = pick(hosts)
    await order(host, 'scale', '3')
    await order(host, 'scale', '2')
  },
  async 'Redis is away for 3 s'() {
    redis.freeze()
    const from = performance.now()
    redisAway = { from, to: Number.POSITIVE_INFINITY }
    await waitFor(() => performance.now() - from > OUTAGE_MS, { timeout: OUTAGE_MS * 5 })
    redis.thaw()
    redisAway = { from, to: performance.now() }
  },
  async 'one launcher is stopped, and comes back'() {
    const [first, second] = hosts as [Host, Host]
    // The balancer takes it out first, as it does when its readiness says so.
    hosts = [second]
    await first.board.stop()
    hosts = [await startHost(first.name), second]
  },
}

test(
  `the app is stateless (SEED=${seed}): users on random workers agree with the model while everything is pulled out`,
  async () => {
    const { url } = (hosts[1] as Host).board
    const json = { name: 'reader', password: 'correct horse battery' }
    let reader: Session = {
      ...(await call<Tokens>(`${url}/api/signup`, { method: 'POST', json })).body,
      at: performance.now(),
    }
    let renewing: Promise<Session | undefined> | undefined
    const readerToken = async (): Promise<string> => {
      if (isOld(reader)) {
        renewing ??= refresh(reader).finally(() => (renewing = undefined))
        reader = (await renewing) ?? reader
      }
      return reader.accessToken
    }
    // Pages stay on the host that is not stopped; which worker of it they are on changes with every fault.
    const pages = Array.from({ length: 4 }, () => openPage(url, readerToken))
    // What was uploaded before a page was in the room is not shown to it.
    await waitFor(
      async () => {
        await uploadPhoto(url, reader.accessToken, 'probe', picture)
        return pages.every(({ seen }) => seen.size > 0)
      },
      { timeout: 30_000 },
    )

    // Every fault at least once, however slow the machine is; then as long as there is time.
    const start = performance.now()
    const log: string[] = []
    let done = false
    const pull = (async () => {
      const list = Object.entries(faults)
      for (let i = 0; i < list.length || performance.now() - start < SECONDS * 1_000; i++) {
        const [name, fault] = list[i % list.length] as [string, () => Promise<void>]
        await fault()
        log.push(name)
      }
      done = true
    })()
    pull.catch(() => (done = true))
    await Promise.all(Array.from({ length: USERS }, (_, i) => user(`user${i}`, () => done)))
    await pull

    // Everything is calm again: what was acknowledged is there, on every worker of both hosts.
    const all = [...model.photos.values()]
    for (const { board } of hosts)
      for (let i = 0; i < 6; i++) {
        const ids: string[] = []
        for (let next: string | null = ''; next !== null; ) {
          const page: Answer<{ photos: { id: string }[]; next: string | null }> = await call(
            `${board.url}/api/photos?limit=100${next ? `&before=${next}` : ''}`,
          )
          expect(page.status).toBe(200)
          ids.push(...page.body.photos.map(({ id }) => id))
          next = page.body.next
        }
        const there = new Set(ids)
        for (const { id } of all) if (!there.has(id)) model.violate(`photo ${id} is lost`)
      }
    for (const page of pages) {
      const missing = () => all.filter(({ id, live }) => live && !page.seen.has(id))
      await waitFor(() => missing().length === 0 || page.resyncs > 0, { timeout: 30_000 }).catch(() => undefined)
      if (page.resyncs === 0) for (const { id } of missing()) model.violate(`an open page was never shown photo ${id}`)
      page.close()
    }

    process.stdout.write(
      `stateless check: ${JSON.stringify(model.counts)}; faults: ${log.join(', ')}; resyncs ${pages.map(({ resyncs }) => resyncs).join()}\n`,
    )
    expect(model.violations).toEqual([])
    expect(model.counts.uploads).toBeGreaterThan(10)
    expect(model.counts.lists).toBeGreaterThan(20)
    expect(new Set(log)).toEqual(new Set(Object.keys(faults)))
  },
  (SECONDS + 240) * 1_000,
)
