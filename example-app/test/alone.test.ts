import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type FaultProxy, type Services, faultProxy, freePort, waitFor } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Photo } from '../src/db/photos.ts'
import { boardEnv, startBoardServices } from './support/board.ts'
import { call, openPage, signUp, uploadPhoto } from './support/client.ts'

let services: Services
let database: FaultProxy
let server: ChildProcess | undefined

beforeAll(async () => {
  services = await startBoardServices()
  database = await faultProxy({ target: services.env.DATABASE_URL as string })
}, 240_000)

afterAll(async () => {
  server?.kill('SIGKILL')
  await database?.stop()
  await services?.stop()
})

test('the same code runs alone: upload, live update, thumbnail, list; 503 while the database is away; SIGTERM ends it', async () => {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const main = fileURLToPath(new URL('../dist/server.js', import.meta.url))
  server = spawn(process.execPath, [main], {
    env: { ...boardEnv(services), DATABASE_URL: database.url, PORT: String(port) },
    stdio: 'ignore',
  })
  const gone = once(server, 'exit')
  // Until its tables are there it answers with an error.
  await waitFor(async () => (await fetch(`${url}/api/photos`)).ok, { timeout: 60_000, interval: 100 })
  const anna = await signUp(url, 'anna')
  const page = await openPage(url, anna.accessToken)
  const { body } = await uploadPhoto(url, anna.accessToken, 'alone')
  await waitFor(() => page.photos.find(({ id, thumbnailUrl }) => id === body.id && thumbnailUrl), { timeout: 30_000 })
  const list = await call<{ photos: Photo[] }>(`${url}/api/photos`)
  expect(list.body.photos).toEqual(page.photos)
  expect(list.pid).toBe(server.pid)
  page.close()

  // Frozen with connections that are open, then refused. Each question is one that no cache has an answer to.
  const older = (n: number) => call<{ message: string }>(`${url}/api/photos?before=${n}`)
  const away = {
    status: 503,
    headers: { 'retry-after': '1' },
    body: { message: 'the database did not answer in time' },
  }
  database.freeze()
  expect(await older(1)).toMatchObject(away)
  database.cut()
  await database.refuse()
  expect(await older(2)).toMatchObject(away)
  database.thaw()
  await database.accept()
  await waitFor(async () => (await older(3)).status === 200)

  server.kill('SIGTERM')
  expect(await gone).toEqual([0, null])
}, 120_000)
