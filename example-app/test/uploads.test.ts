import { type Services } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Photo } from '../src/db/photos.ts'
import { type Board, boardEnv, startBoard, startBoardServices } from './support/board.ts'
import { type Tokens, call, makePng, signUp, uploadPhoto } from './support/client.ts'

let services: Services
let board: Board
let anna: Tokens

beforeAll(async () => {
  services = await startBoardServices()
  board = await startBoard(boardEnv(services))
  anna = await signUp(board.url, 'anna')
}, 240_000)

afterAll(async () => {
  await board?.stop()
  await services?.stop()
})

interface Grant {
  url: string
  fields: Record<string, string>
  key: string
}

const post = <T>(path: string, json: unknown, token = anna.accessToken) =>
  call<T>(`${board.url}/api/${path}`, { method: 'POST', token, json })
const complete = (key: string, token?: string) => post<Photo>('uploads/complete', { key, caption: 'straight' }, token)
const listed = async (): Promise<Photo[]> =>
  (await call<{ photos: Photo[] }>(`${board.url}/api/photos?limit=100`)).body.photos

/** Sends a picture straight to S3; resolves with the key that completes it. */
async function straightToS3(file: Buffer): Promise<string> {
  const { body: grant } = await post<Grant>('uploads', { contentType: 'image/png', size: file.length })
  const form = new FormData()
  for (const [name, value] of Object.entries(grant.fields)) form.set(name, value)
  form.set('file', new Blob([new Uint8Array(file)]))
  expect((await fetch(grant.url, { method: 'POST', body: form })).ok).toBe(true)
  return grant.key
}

test('straight to S3 no more may be sent than through the app', async () => {
  const most = 25 * 1_024 ** 2
  expect((await post('uploads', { contentType: 'image/png', size: most })).status).toBe(200)
  for (const size of [most + 1, 1e15])
    expect((await post('uploads', { contentType: 'image/png', size })).status).toBe(413)
  const large = Buffer.concat([makePng(64), Buffer.alloc(most)])
  expect((await uploadPhoto(board.url, anna.accessToken, 'large', large)).status).toBe(413)
  expect(await listed()).toEqual([])
})

test('an upload that is completed twice at once, or again, is one photo', async () => {
  const ben = await signUp(board.url, 'ben')
  for (let i = 0; i < 5; i++) {
    const before = await listed()
    const key = await straightToS3(makePng(64))
    const answers = await Promise.all([complete(key), complete(key), complete(key)])
    answers.push(await complete(key))
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201])
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    expect((await listed()).length).toBe(before.length + 1)
    expect((await complete(key, ben.accessToken)).status).toBe(404)
  }
})

test('a caption that PostgreSQL cannot hold is refused, and leaves nothing', async () => {
  const { body: photo } = await uploadPhoto(board.url, anna.accessToken, 'good')
  const before = await listed()
  const key = await straightToS3(makePng(64))
  const changed = await call(`${board.url}/api/photos/${photo.id}`, {
    method: 'PATCH',
    token: anna.accessToken,
    json: { caption: 'a\0b' },
  })
  expect(changed.status).toBe(400)
  expect((await uploadPhoto(board.url, anna.accessToken, 'a\0b')).status).toBe(400)
  expect((await post('uploads/complete', { key, caption: 'a\0b' })).status).toBe(400)
  expect((await listed()).length).toBe(before.length)
})
