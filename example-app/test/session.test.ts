import { type Services } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Board, boardEnv, startBoard, startBoardServices } from './support/board.ts'
import { PASSWORD, type Tokens, call, signUp } from './support/client.ts'

let services: Services
let board: Board

beforeAll(async () => {
  services = await startBoardServices()
  board = await startBoard({ ...boardEnv(services), ADMIN_NAMES: 'Mark , kim' })
}, 240_000)

afterAll(async () => {
  await board?.stop()
  await services?.stop()
})

const enter = (path: string, name: string) =>
  call<Tokens>(`${board.url}/api/${path}`, { method: 'POST', json: { name, password: PASSWORD } })

test('names of admins are told apart from others in any case, and may have spaces around them', async () => {
  const roles = async ({ accessToken }: Tokens) =>
    (await call<{ roles: string[] }>(`${board.url}/api/me`, { token: accessToken })).body.roles
  expect(await roles(await signUp(board.url, 'mark'))).toEqual(['user', 'admin'])
  expect(await roles(await signUp(board.url, 'KIM'))).toEqual(['user', 'admin'])
  expect(await roles(await signUp(board.url, 'marc'))).toEqual(['user'])
})

test.each(['mark', 'MARK', 'mArK'])('nobody becomes an admin a second time as %s', async (name) => {
  expect((await enter('signup', name)).status).toBe(409)
  expect((await enter('login', name)).status).toBe(200)
})

// JavaScript folds these to 'mark' and 'kim'; PostgreSQL, by its locale, may not.
test.each(['mar\u212A', '\u212Aim', 'JÜRGEN', 'ｍａｒｋ'])('%s is no name', async (name) => {
  for (const path of ['signup', 'login']) expect((await enter(path, name)).status).toBe(400)
})

test('a page that has the cookie alone gets new tokens, without a word', async () => {
  const { headers } = await enter('signup', 'nora')
  const cookie = [headers['set-cookie']].flat().map((one) => String(one).split(';')[0])
  const answer = await call<Tokens>(`${board.url}/api/session/refresh`, {
    method: 'POST',
    headers: { cookie: cookie.join('; '), origin: board.url },
  })
  expect(answer.status).toBe(200)
  expect(answer.body.accessToken).toMatch(/\w/)
  expect((await call(`${board.url}/api/session/refresh`, { method: 'POST' })).status).toBe(401)
})

test('a user who is written in another way than PostgreSQL knows is refused', async () => {
  const list = (user: string) => call(`${board.url}/api/photos?user=${user}`)
  const user = 'c0ffee00-0000-4000-8000-0000000000Ab'
  expect((await list(user)).status).toBe(200)
  expect((await list(`urn:uuid:${user}`)).status).toBe(400)
})
