import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Services, waitFor } from '@fastify-scale/dev-services'
import { Client } from 'pg'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Photo } from '../src/db/photos.ts'
import { makeThumbnail } from '../src/make-thumbnail.ts'
import { type Board, boardEnv, startBoard, startBoardServices } from './support/board.ts'
import { type Tokens, call, makePng, openPage, signUp, uploadPhoto } from './support/client.ts'
import { landscape } from './support/pictures.ts'

let services: Services
let board: Board
let anna: Tokens
let database: Client
let env: NodeJS.ProcessEnv
/** What no row points to since the tests began: a picture (by a signed URL) and its thumbnail. */
let orphans: string[]

beforeAll(async () => {
  services = await startBoardServices()
  env = boardEnv(services)
  board = await startBoard(env)
  database = new Client({ connectionString: env['DATABASE_URL'] })
  await database.connect()
  anna = await signUp(board.url, 'anna')
  const { body } = await uploadPhoto(board.url, anna.accessToken, 'orphan')
  const thumbnail = await waitFor(async () => (await listed(body.id))?.thumbnailUrl, { timeout: 30_000 })
  orphans = [await originalOf(body.id), thumbnail]
  await database.query('DELETE FROM photos WHERE id = $1', [body.id])
}, 240_000)

afterAll(async () => {
  await database?.end()
  await board?.stop()
  await services?.stop()
})

const listed = async (id: string): Promise<Photo | undefined> =>
  (await call<{ photos: Photo[] }>(`${board.url}/api/photos`)).body.photos.find((photo) => photo.id === id)

/** A URL that opens the original for a while. */
async function originalOf(id: string): Promise<string> {
  const answer = await call(`${board.url}/api/photos/${id}/original`, { token: anna.accessToken })
  return String(answer.headers['location'])
}

test('each photo gets a thumbnail, which open pages show at once and everybody can read', async () => {
  const page = await openPage(board.url, anna.accessToken)
  const { body } = await uploadPhoto(board.url, anna.accessToken, 'Wide', await landscape(['#fff', '#999'], '#333'))
  expect(body.thumbnailUrl).toBeNull()
  const live = await waitFor(
    () => page.photos.find(({ id, thumbnailUrl }) => id === body.id && thumbnailUrl !== null),
    {
      timeout: 30_000,
    },
  )
  expect(live).toEqual({ ...body, thumbnailUrl: expect.stringContaining('/thumbnails/'), version: 1 })
  expect(await listed(body.id)).toEqual(live)
  const response = await fetch(live.thumbnailUrl as string)
  expect(response.headers.get('content-type')).toBe('image/webp')
  expect(await sharp(await response.arrayBuffer()).metadata()).toMatchObject({
    format: 'webp',
    width: 640,
    height: 480,
  })
  page.close()
})

test('a photo that was taken upright stands upright, and a small one is not blown up', async () => {
  const upright = await sharp(await landscape(['#fff', '#999'], '#333'))
    .withMetadata({ orientation: 6 })
    .toBuffer()
  const sizes: unknown[] = []
  for (const file of [upright, makePng(64)]) {
    const { body } = await uploadPhoto(board.url, anna.accessToken, 'x', file)
    const url = await waitFor(async () => (await listed(body.id))?.thumbnailUrl, { timeout: 30_000 })
    const { width, height } = await sharp(await (await fetch(url)).arrayBuffer()).metadata()
    sizes.push([width, height])
  }
  expect(sizes).toEqual([
    [640, 853],
    [64, 64],
  ])
})

test('removing a photo removes its thumbnail', async () => {
  const { body } = await uploadPhoto(board.url, anna.accessToken, 'y')
  const url = await waitFor(async () => (await listed(body.id))?.thumbnailUrl, { timeout: 30_000 })
  expect((await fetch(url)).status).toBe(200)
  const removed = await call(`${board.url}/api/photos/${body.id}`, { method: 'DELETE', token: anna.accessToken })
  expect(removed.status).toBe(204)
  expect((await fetch(url)).ok).toBe(false)
})

test('a file that only begins like a picture harms nothing: the board shows the original', async () => {
  const broken = makePng(64)
  broken.fill(0, 60)
  const { status, body } = await uploadPhoto(board.url, anna.accessToken, 'broken', broken)
  expect(status).toBe(201)
  const next = await uploadPhoto(board.url, anna.accessToken, 'whole')
  await waitFor(async () => (await listed(next.body.id))?.thumbnailUrl, { timeout: 30_000 })
  expect((await listed(body.id))?.thumbnailUrl).toBeNull()
  // Not tried again every night.
  const why = async (): Promise<string | null | undefined> =>
    (await database.query<{ unreadable: string | null }>('SELECT unreadable FROM photos WHERE id = $1', [body.id]))
      .rows[0]?.unreadable
  expect(await waitFor(why, { timeout: 30_000 })).toMatch(/\w/)
})

test('an original that is larger than a photo may be is not loaded', async () => {
  const large = createServer((_request, response) => response.writeHead(200, { 'content-length': 2e9 }).flushHeaders())
  onTestFinished(() => large.close().closeAllConnections())
  large.listen(0, '127.0.0.1')
  await once(large, 'listening')
  const { port } = large.address() as AddressInfo
  expect(await makeThumbnail(await fetch(`http://127.0.0.1:${port}`))).toEqual({
    unreadable: '2000000000 bytes are more than the 26214400 that a photo may have',
  })
})

test('the nightly sweep removes what no row points to, keeps what one does, and makes what was missed', async () => {
  const { body } = await uploadPhoto(board.url, anna.accessToken, 'kept')
  await waitFor(async () => (await listed(body.id))?.thumbnailUrl, { timeout: 30_000 })
  const kept = await originalOf(body.id)
  for (const url of [...orphans, kept]) expect((await fetch(url)).status).toBe(200)
  await database.query('UPDATE photos SET thumbnail_url = NULL WHERE id = $1', [body.id])
  await board.stop()

  // By its cron, and no object younger than a minute.
  board = await startBoard({ ...env, SWEEP_AT: '* * * * * *', SWEEP_OLDER_THAN: '1m' })
  const [picture, thumbnail] = orphans as [string, string]
  const gone = { timeout: 150_000, interval: 500 }
  await waitFor(async () => (await fetch(picture)).status === 404, gone)
  await waitFor(async () => !(await fetch(thumbnail)).ok, gone)
  await waitFor(
    async () =>
      (await database.query('SELECT FROM photos WHERE thumbnail_url IS NULL AND id = $1', [body.id])).rowCount === 0,
    { timeout: 30_000 },
  )
  expect((await fetch(kept)).status).toBe(200)
  const { rows } = await database.query<{ url: string }>('SELECT thumbnail_url AS url FROM photos WHERE id = $1', [
    body.id,
  ])
  expect((await fetch(rows[0]?.url as string)).status).toBe(200)
}, 240_000)

test('a Redis that knows another database’s photos keeps none of this one’s from its thumbnail', async () => {
  await board.stop()
  await database.query('CREATE DATABASE another')
  board = await startBoard({ ...env, DATABASE_URL: (env['DATABASE_URL'] as string).replace(/\w+$/, 'another') })
  anna = await signUp(board.url, 'anna')
  const { body } = await uploadPhoto(board.url, anna.accessToken, 'first')
  expect(body.id).toBe('1')
  await waitFor(async () => (await listed('1'))?.thumbnailUrl, { timeout: 30_000 })
}, 120_000)
