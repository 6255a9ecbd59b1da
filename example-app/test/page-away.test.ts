import { type Services, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type Board, boardEnv, openBucket, startBoard, startBoardServices } from './support/board.ts'
import { type Browser, type Tab, enter, startBrowser } from './support/browser.ts'
import { type Tokens, signUp, uploadPhoto } from './support/client.ts'

const PATIENCE = { timeout: 60_000, interval: 100 }

let services: Services
let board: Board
let browser: Browser
let ben: Tokens

beforeAll(async () => {
  services = await startBoardServices()
  const env = boardEnv(services)
  ;[board, browser] = await Promise.all([startBoard(env), startBrowser()])
  await openBucket(env, board.url)
  ben = await signUp(board.url, 'ben')
  await add('before')
}, 240_000)

afterAll(async () => {
  await browser?.close()
  await board?.stop()
  await services?.stop()
})

async function open(): Promise<Tab> {
  const tab = await browser.open(board.url)
  onTestFinished(() => tab.close())
  return tab
}
const add = async (caption: string): Promise<void> => {
  expect((await uploadPhoto(board.url, ben.accessToken, caption)).status).toBe(201)
}

test('a photo that is heard of while the list is on its way stays', async () => {
  const { page } = await open()
  await enter(page, 'anna')
  await page.locator('.caption', { hasText: 'before' }).waitFor()
  let asked = false
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  await page.route('**/api/photos?**', async (route) => {
    const response = await route.fetch()
    asked = true
    await held
    await route.fulfill({ response })
  })
  await page.reload()
  await page.locator('#live.colored').waitFor()
  await waitFor(() => asked)
  await add('meanwhile')
  // With its thumbnail: nothing more is told of it.
  await page.locator('li', { hasText: 'meanwhile' }).locator('img[src*="/thumbnails/"]').waitFor()
  const answered = page.waitForResponse('**/api/likes?**')
  release()
  await answered
  expect(await page.locator('.caption').allTextContents()).toEqual(['meanwhile', 'before'])
})

test('an answer that comes late does not undo what was shown since', async () => {
  const [mara, emil] = [await open(), await open()]
  await enter(mara.page, 'mara')
  await enter(emil.page, 'emil')
  const like = ({ page }: Tab) => page.locator('#photos > li', { hasText: 'before' }).locator('.like')
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  await mara.page.route('**/like', async (route) => {
    const response = await route.fetch()
    await held
    await route.fulfill({ response })
  })
  await like(mara).click()
  await like(emil).filter({ hasText: '1' }).waitFor()
  await like(emil).click()
  await like(mara).filter({ hasText: '2' }).waitFor()
  release()
  await waitFor(async () => (await like(mara).getAttribute('aria-pressed')) === 'true', PATIENCE)
  expect(await like(mara).textContent()).toContain('2')
})

test('where no live connection can be had the photos are shown all the same', async () => {
  const { page } = await open()
  await enter(page, 'carl')
  await page.routeWebSocket(/socket\.io/, (socket) => socket.close())
  await page.reload()
  await page.locator('.caption', { hasText: 'before' }).waitFor()
})

test('where more than a page was missed for good, nothing in between is left out', async () => {
  const redis = new Redis(services.env.REDIS_URL as string)
  const database = new Client({ connectionString: services.env.DATABASE_URL as string })
  onTestFinished(async () => {
    redis.disconnect()
    await database.end()
  })
  await database.connect()
  const insert = (caption: string) =>
    database.query(
      `INSERT INTO photos (user_id, url, caption)
        SELECT id, 'https://nowhere.example/' || $1 || n, $1 || n FROM users, generate_series(1, 40) n WHERE name = 'ben'`,
      [caption],
    )
  await insert('early ')
  await add('then')
  const { page } = await open()
  let away = false
  let cut = (): void => undefined
  await page.routeWebSocket(/socket\.io/, (socket) => {
    if (away) return void socket.close()
    const server = socket.connectToServer()
    cut = () => void Promise.all([socket.close(), server.close()])
  })
  await page.reload()
  await enter(page, 'dora')
  await page.locator('.caption', { hasText: 'then' }).waitFor()
  away = true
  cut()
  await page.locator('#live.bad').waitFor()
  await insert('missed ')
  for (const key of await redis.keys('*board:main*')) await redis.del(key)
  await add('after')
  away = false
  await page.locator('.caption', { hasText: 'after' }).waitFor({ timeout: 30_000 })
  const older = page.getByRole('button', { name: 'Older photos' })
  for (const lastOfPage of [/^early 35$/, /^early 11$/, /^before$/]) {
    await older.click()
    await page.locator('.caption', { hasText: lastOfPage }).waitFor()
  }
  const all = await database.query<{ caption: string }>('SELECT caption FROM photos ORDER BY id DESC')
  expect(await page.locator('.caption').allTextContents()).toEqual(all.rows.map(({ caption }) => caption))
}, 60_000)
