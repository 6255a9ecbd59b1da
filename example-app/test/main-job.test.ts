import { type Services, isAlive, waitFor } from '@fastify-scale/dev-services'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Photo } from '../src/db/photos.ts'
import { type Board, boardEnv, startBoard, startBoardServices } from './support/board.ts'
import {
  type Tokens,
  call,
  makePng,
  openPage,
  openPageElsewhere,
  plain,
  signUp,
  uploadPhoto,
} from './support/client.ts'

let services: Services
let board: Board
let anna: Tokens
let ben: Tokens

beforeAll(async () => {
  services = await startBoardServices()
  board = await startBoard(boardEnv(services))
  anna = await signUp(board.url, 'anna')
  ben = await signUp(board.url, 'ben')
}, 240_000)

afterAll(async () => {
  await board?.stop()
  await services?.stop()
})

test('two clients on two workers see the same photo, at once and in the list', async () => {
  const annasPage = await openPage(board.url, anna.accessToken)
  const bensPage = await openPageElsewhere(board.url, ben.accessToken, annasPage.worker)
  const png = makePng(300)
  const uploaded = await uploadPhoto(board.url, anna.accessToken, 'At the lake', png)
  expect(uploaded.status).toBe(201)
  expect(uploaded.body).toMatchObject({ caption: 'At the lake', author: 'anna' })

  await waitFor(() => annasPage.photos.length === 1 && bensPage.photos.length === 1, { timeout: 10_000 })
  expect(annasPage.photos.map(plain)).toEqual([uploaded.body])
  expect(bensPage.photos.map(plain)).toEqual([uploaded.body])
  expect(annasPage.worker).not.toBe(bensPage.worker)

  const pids = new Set<number>()
  await waitFor(
    async () => {
      const list = await call<{ photos: Photo[] }>(`${board.url}/api/photos`)
      expect(plain(list.body.photos[0])).toEqual(uploaded.body)
      pids.add(list.pid)
      return pids.size === 2
    },
    { timeout: 10_000 },
  )
  expect(pids).toEqual(new Set([annasPage.worker, bensPage.worker]))

  // The bytes are in S3; all that the database has of them is an absolute URL, which a signed one makes readable.
  expect((await fetch(uploaded.body.url)).status).toBe(403)
  const original = await call(`${board.url}/api/photos/${uploaded.body.id}/original`, { token: ben.accessToken })
  expect(original.status).toBe(302)
  const object = await fetch(String(original.headers['location']))
  expect(object.headers.get('content-type')).toBe('image/png')
  expect(Buffer.from(await object.arrayBuffer()).equals(png)).toBe(true)
  const db = new pg.Client({ connectionString: services.env.DATABASE_URL as string })
  await db.connect()
  const { rows } = await db.query('SELECT url FROM photos')
  await db.end()
  expect(rows).toEqual([{ url: uploaded.body.url }])
  annasPage.close()
  bensPage.close()
})

test('the list is cached and gzipped, and an upload is in the next answer of every worker', async () => {
  for (let i = 0; i < 5; i++)
    await uploadPhoto(
      board.url,
      anna.accessToken,
      `A photo with a caption long enough to be worth compressing, number ${i}`,
    )
  const statuses = new Set<string>()
  await waitFor(
    async () => {
      statuses.add(String((await call(`${board.url}/api/photos`)).headers['cache-status']))
      return [...statuses].some((status) => status.includes('hit'))
    },
    { timeout: 10_000 },
  )
  const raw = await fetch(`${board.url}/api/photos`, { headers: { 'accept-encoding': 'gzip' } })
  expect(raw.headers.get('content-encoding')).toBe('gzip')
  expect(((await raw.json()) as { photos: Photo[] }).photos.length).toBeGreaterThanOrEqual(5)

  for (let i = 0; i < 10; i++) {
    const { body } = await uploadPhoto(board.url, ben.accessToken, `fresh ${i}`)
    const seenBy = new Set<number>()
    for (let n = 0; n < 6; n++) {
      const list = await call<{ photos: Photo[] }>(`${board.url}/api/photos`)
      seenBy.add(list.pid)
      expect(list.body.photos[0]?.id).toBe(body.id)
    }
    expect(seenBy.size).toBe(2)
  }
})

test('a refresh gives new tokens on any worker, a logout takes effect on both', async () => {
  const carla = await signUp(board.url, 'carla')
  const fresh = await call<Tokens>(`${board.url}/api/session/refresh`, {
    method: 'POST',
    json: { refreshToken: carla.refreshToken },
  })
  expect(fresh.status).toBe(200)
  const { accessToken } = fresh.body
  expect((await call(`${board.url}/api/me`, { token: accessToken })).body).toMatchObject({
    name: 'carla',
    roles: ['user'],
  })
  expect((await call(`${board.url}/api/logout`, { method: 'POST', token: accessToken })).status).toBe(204)
  const refusedBy = new Set<number>()
  await waitFor(
    async () => {
      const answer = await call(`${board.url}/api/me`, { token: accessToken })
      if (answer.status === 401) refusedBy.add(answer.pid)
      return refusedBy.size === 2
    },
    { timeout: 25_000 },
  )
  expect(
    (
      await call(`${board.url}/api/session/refresh`, {
        method: 'POST',
        json: { refreshToken: fresh.body.refreshToken },
      })
    ).status,
  ).toBe(401)
})

test('what is wrong is refused with a clear answer and leaves nothing', async () => {
  const before = await call<{ photos: Photo[] }>(`${board.url}/api/photos?limit=100`)
  const cases = [
    [await uploadPhoto(board.url, 'nonsense', 'x'), 401],
    [await uploadPhoto(board.url, anna.accessToken, 'x', Buffer.from('#!/bin/sh\necho no photo\n'.repeat(300))), 415],
    [
      await call(`${board.url}/api/signup`, { method: 'POST', json: { name: 'ANNA', password: 'another password' } }),
      409,
    ],
    [await call(`${board.url}/api/signup`, { method: 'POST', json: { name: 'x', password: 'short' } }), 400],
    [
      await call(`${board.url}/api/login`, { method: 'POST', json: { name: 'anna', password: 'not her password' } }),
      401,
    ],
    [
      await call(`${board.url}/api/login`, { method: 'POST', json: { name: 'nobody', password: 'not a password' } }),
      401,
    ],
    [await call(`${board.url}/api/photos?limit=1000`), 400],
    [await call(`${board.url}/api/photos?before=abc`), 400],
  ] as const
  for (const [answer, status] of cases) expect([answer.status, answer.body]).toEqual([status, expect.anything()])
  const after = await call<{ photos: Photo[] }>(`${board.url}/api/photos?limit=100`)
  expect(after.body.photos.length).toBe(before.body.photos.length)
})

test('pages of the list have no gaps and no repeats', async () => {
  const seen: string[] = []
  let next: string | null = null
  do {
    const page: { photos: Photo[]; next: string | null } = (
      await call<{ photos: Photo[]; next: string | null }>(
        `${board.url}/api/photos?limit=4${next ? `&before=${next}` : ''}`,
      )
    ).body
    seen.push(...page.photos.map(({ id }) => id))
    next = page.next
  } while (next)
  const all = await call<{ photos: Photo[] }>(`${board.url}/api/photos?limit=100`)
  expect(seen).toEqual(all.body.photos.map(({ id }) => id))
  expect(new Set(seen).size).toBe(seen.length)
})

test('the page is served', async () => {
  const page = await call<string>(`${board.url}/`)
  expect(page.status).toBe(200)
  expect(page.body).toContain('<title>Photo board</title>')
})

test('however many workers start together, migrations run once', async () => {
  const db = new pg.Client({ connectionString: services.env.DATABASE_URL as string })
  await db.connect()
  const { rows } = await db.query<{ n: number }>('SELECT count(*)::int AS n FROM migrations')
  await db.end()
  expect(rows[0]?.n).toBeGreaterThan(0)
  expect(board.output().split('"migrated"').length - 1).toBeLessThanOrEqual(rows[0]?.n ?? 0)
})

test('SIGTERM ends the launcher and every worker', async () => {
  const other = await startBoard(boardEnv(services))
  const pids = new Set<number>()
  await waitFor(async () => pids.add((await call(`${other.url}/api/photos`)).pid).size === 2, { timeout: 60_000 })
  expect(await other.stop()).toBe(0)
  for (const pid of pids) await waitFor(() => !isAlive(pid), { timeout: 10_000 })
}, 120_000)
