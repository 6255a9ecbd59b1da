import { type Services, waitFor } from '@fastify-scale/dev-services'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Board, boardEnv, openBucket, startBoard, startBoardServices } from './support/board.ts'
import { type Browser, type Tab, addPhoto, axe, enter, keep, startBrowser, tabTo } from './support/browser.ts'
import { PASSWORD } from './support/client.ts'
import { heavyPicture, landscape } from './support/pictures.ts'

/** The promise is a second; a busy machine gets five. */
const AT_ONCE_MS = 5_000
const PATIENCE = { timeout: 60_000, interval: 100 }

let services: Services
let board: Board
let browser: Browser
let admin: Tab
let mara: Tab

beforeAll(async () => {
  services = await startBoardServices()
  const env = boardEnv(services)
  ;[board, browser] = await Promise.all([startBoard(env), startBrowser()])
  await openBucket(env, board.url)
}, 240_000)

afterAll(async () => {
  await browser?.close()
  await board?.stop()
  await services?.stop()
})

const caption = (page: Page, text: string) => page.locator('.caption', { hasText: text })
const photo = (page: Page, text: string) => page.locator('#photos > li', { hasText: text })
const failed = (page: Page): Promise<string | null> => page.locator('#failed').textContent()
const pids = async (page: Page): Promise<string[]> =>
  (await page.locator('.tile.ready h4 > span:nth-child(2)').allTextContents()).toSorted()

test('an empty board, before anybody is logged in', async () => {
  admin = await browser.open(board.url)
  mara = await browser.open(board.url, { width: 390, height: 844 })
  await mara.page.locator('#empty').waitFor()
  await keep(mara.page, 'board-390-first')
  expect(await axe(mara.page)).toEqual([])
})

test('two browsers see who is there, and each other’s photo and like, at once', async () => {
  await enter(admin.page, 'admin')
  await enter(mara.page, 'mara')
  for (const { page } of [admin, mara])
    await page.locator('#present', { hasText: 'Here now: admin, mara' }).waitFor({ timeout: 10_000 })

  const file = await landscape(['#ffb88c', '#de6262'], '#26324d')
  const [, seenAfter] = await Promise.all([
    addPhoto(admin.page, { file, caption: 'Evening at the lake' }),
    timeUntil(async () => caption(mara.page, 'Evening at the lake').waitFor()),
  ])
  expect(seenAfter).toBeLessThan(AT_ONCE_MS)
  // It is not only announced: its bytes are on the screen.
  await waitFor(
    () =>
      photo(mara.page, 'Evening')
        .locator('img')
        .evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0),
    PATIENCE,
  )

  const like = photo(mara.page, 'Evening').locator('.like')
  await like.click()
  const likedAfter = await timeUntil(() => photo(admin.page, 'Evening').locator('.like', { hasText: '1' }).waitFor())
  expect(likedAfter).toBeLessThan(AT_ONCE_MS)
  await waitFor(async () => (await like.getAttribute('aria-pressed')) === 'true', PATIENCE)
  // It is in the database, and known after the page was loaded again, without logging in again.
  await mara.page.reload()
  await waitFor(async () => (await like.getAttribute('aria-pressed')) === 'true', PATIENCE)
})

test('the progress of an upload moves, through the app and straight to S3', async () => {
  const slow = await mara.page.context().newCDPSession(mara.page)
  await slow.send('Network.enable')
  const throttle = (bytesPerSecond: number) =>
    slow.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: bytesPerSecond,
    })
  const file = await heavyPicture(3_000_000)
  for (const direct of [false, true]) {
    const name = direct ? 'Straight to S3' : 'Through the app'
    await throttle(1_000_000)
    const seen = await addPhoto(mara.page, { file, caption: name, direct })
    await throttle(-1)
    const between = seen.filter((value) => value > 0 && value < 1)
    expect(new Set(between).size, `${name}: ${seen.join(' ')}`).toBeGreaterThanOrEqual(3)
    expect(seen.slice(1)).toEqual(seen.slice(1).toSorted((a, b) => a - b))
    await caption(admin.page, name).waitFor()
  }
  await slow.detach()
})

test('the banner changes on both', async () => {
  const text = 'Maintenance tonight from 22:00: nothing will be down.'
  await admin.page.getByLabel('Banner on every page').fill(text)
  await admin.page.getByRole('button', { name: 'Show', exact: true }).click()
  for (const { page } of [admin, mara])
    await page.locator('#banner', { hasText: text }).waitFor({ timeout: AT_ONCE_MS })
})

test('everything is done by keyboard alone', async () => {
  const kim = await browser.open(board.url)
  const { page } = kim
  const { keyboard } = page
  // Long before it is needed: Chromium has to be told not to show a dialog of its own.
  const chosen = page.waitForEvent('filechooser', { timeout: PATIENCE.timeout })
  await tabTo(page, '.skip')
  await tabTo(page, 'input[name=name]')
  await keyboard.type('kim')
  await tabTo(page, 'input[name=password]')
  await keyboard.type(PASSWORD)
  await tabTo(page, 'button[value=signup]')
  // The list comes late: what is drawn then does not take the focus from who has gone on.
  let comes = (): void => undefined
  const late = new Promise<void>((resolve) => (comes = resolve))
  await page.route(/\/photos(\?|$)/, async (route) => {
    await late
    await route.continue()
  })
  await keyboard.press('Enter')
  await page.locator('#live.colored').waitFor()
  await tabTo(page, 'input[type=file]')
  const list = page.waitForResponse(/\/photos(\?|$)/)
  comes()
  await (await list).finished()
  await page.unroute(/\/photos(\?|$)/)
  // Two frames: it is drawn.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
  await keyboard.press('Enter')
  const buffer = await landscape(['#c9e7d8', '#7fb69e'], '#1c4434')
  await (await chosen).setFiles({ name: 'forest.jpg', mimeType: 'image/jpeg', buffer })
  await tabTo(page, '#upload [name=caption]')
  await keyboard.type('Behind the house')
  await tabTo(page, '#upload button')
  await keyboard.press('Enter')
  await caption(page, 'Behind the house').waitFor()
  await waitFor(() => page.evaluate(() => document.activeElement?.closest('#upload') !== null), PATIENCE)

  const own = `#${await photo(page, 'Behind the house').getAttribute('id')}`
  await tabTo(page, `${own} .like`)
  await keyboard.press('Space')
  await page.locator(`${own} .like[aria-pressed=true]:focus`).waitFor()
  await tabTo(page, `${own} .edit`)
  await keyboard.press('Enter')
  // Somebody else's like does not take the half-written caption away.
  await keyboard.type('Behind the old house')
  await photo(admin.page, 'Behind the house').locator('.like').click()
  await page.locator(`${own} .like`, { hasText: '2' }).waitFor()
  await keyboard.press('Enter')
  await caption(admin.page, 'Behind the old house').waitFor()
  await page.locator(`${own} .edit:focus`).waitFor()
  await keyboard.press('Enter')
  await keyboard.type('not this')
  await keyboard.press('Escape')
  await caption(page, 'Behind the old house').waitFor()
  await tabTo(page, `${own} .remove`)
  await keyboard.press('Enter')
  await page.getByRole('button', { name: 'Really remove?' }).waitFor()
  await keyboard.press('Enter')
  await caption(admin.page, 'Behind the old house').waitFor({ state: 'detached' })
  await page.keyboard.press('Shift+Tab')
  await tabTo(page, '#burst')
  // Once may lead over connections to one worker only: those that the page has are taken first.
  await waitFor(async () => {
    await keyboard.press('Enter')
    return page.locator('#dots[aria-label*="2 workers"]').isVisible()
  }, PATIENCE)
  await page.evaluate(() => document.body.focus())
  await tabTo(page, '#logout')
  await keyboard.press('Enter')
  await page.locator('#login').waitFor()
  expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('name')
  expect(kim.problems).toEqual([])
  await kim.close()
})

test('it looks well on a phone and a laptop, in light and dark; axe finds nothing; nothing sticks out', async () => {
  for (const { page } of [admin, mara]) {
    await page.evaluate(() => scrollTo(0, 0))
    await waitFor(async () => (await pids(page)).length === 2, PATIENCE)
  }
  const pictures: [Buffer | Promise<Buffer>, string][] = [
    [landscape(['#1b2250', '#5b4b8a'], '#0c0f24'), 'Stars'],
    [landscape(['#e8f1f8', '#a9c4dd'], '#3d5468'), 'Above the clouds'],
    [
      landscape(['#fdf3c8', '#f6c667'], '#8a5a22'),
      'A caption of some length, that tells a whole story about one long walk across the dunes',
    ],
  ]
  for (const [file, text] of pictures) await addPhoto(admin.page, { file: await file, caption: text })
  for (const colorScheme of ['light', 'dark'] as const)
    for (const [tab, width] of [
      [admin, 1440],
      [mara, 390],
    ] as const) {
      await tab.page.emulateMedia({ colorScheme })
      await tab.page.evaluate(() => scrollTo(0, 0))
      await keep(tab.page, `board-${width}-${colorScheme}`)
      expect(await axe(tab.page)).toEqual([])
    }
  await mara.page.locator('#pulse a').click()
  await waitFor(() => mara.page.evaluate(() => location.hash === '#cluster'), PATIENCE)
  await keep(mara.page, 'board-390-workers')
  await keep(mara.page, 'board-390-whole', true)
  const wide = await mara.page.evaluate(() => document.documentElement.scrollWidth)
  expect(wide).toBeLessThanOrEqual(390)
})

test('the policy of the page is strict, and nothing has complained of anything', async () => {
  const policy = String((await fetch(board.url)).headers.get('content-security-policy'))
  expect(policy).toContain("default-src 'none'")
  expect(policy).toContain("connect-src 'self'")
  expect(policy).not.toMatch(/unsafe|\*|\bhttps?:(?!\/\/)/)
  expect([admin.problems, mara.problems]).toEqual([[], []])
})

test.each([
  ['the page', '/', 200],
  ['the API', '/api/photos', 200],
  ['the API, from the cache', '/api/photos', 200],
  ['a wrong value', '/api/photos?limit=0', 400],
  ['nobody', '/api/me', 401],
  ['nothing there', '/nowhere', 404],
])('the headers of helmet are on every answer: %s', async (_what, path, status) => {
  const answer = await fetch(board.url + path)
  expect(answer.status).toBe(status)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'content-security-policy': expect.stringMatching(/^default-src 'none';.*frame-ancestors 'none'$/),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'origin-agent-cluster': '?1',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-dns-prefetch-control': 'off',
    'x-download-options': 'noopen',
    'x-frame-options': 'SAMEORIGIN',
    'x-permitted-cross-domain-policies': 'none',
    'x-xss-protection': '0',
  })
})

test('workers are killed, reloaded, added and removed from the page, and no request fails', async () => {
  const { page } = admin
  const burst = page.locator('#burst')
  const first = await pids(page)

  await burst.click()
  await page.getByRole('button', { name: `Kill worker ${first[0]}` }).click()
  await burst.click()
  await waitFor(async () => {
    const now = await pids(page)
    return now.length === 2 && !now.includes(first[0] as string)
  }, PATIENCE)
  // Whoever was connected to it is connected to another.
  for (const tab of [admin, mara]) await tab.page.locator('#live.colored').waitFor()
  await keep(page, 'board-1440-killed')

  await burst.click()
  const second = await pids(page)
  await page.getByRole('button', { name: /^Reload all workers/ }).click()
  await waitFor(async () => {
    const now = await pids(page)
    return now.length === 2 && now.every((pid) => !second.includes(pid))
  }, PATIENCE)

  await burst.click()
  await page.getByRole('button', { name: /^Add one worker/ }).click()
  await waitFor(async () => (await pids(page)).length === 3, PATIENCE)
  await burst.click()
  await page.getByRole('button', { name: /^Remove one worker/ }).click()
  await waitFor(async () => (await pids(page)).length === 2, PATIENCE)

  expect(await failed(page)).toBe('0')
  expect(await failed(mara.page)).toBe('0')
  expect(Number(await page.locator('#answers').textContent())).toBeGreaterThan(300)
  // And what happens is still seen by all.
  await mara.page.locator('#live.colored').waitFor()
  await photo(page, 'Stars').locator('.like').click()
  await photo(mara.page, 'Stars').locator('.like', { hasText: '1' }).waitFor({ timeout: AT_ONCE_MS })
  // A socket that a killed process held is reported by the browser; nothing else is.
  const others = [...admin.problems, ...mara.problems].filter((one) => !/net::ERR_|WebSocket/.test(one))
  expect(others).toEqual([])
}, 180_000)

test('a logout everywhere ends the other pages too', async () => {
  const other = await browser.open(board.url)
  await enter(other.page, 'mara', 'Log in')
  await other.page.getByRole('button', { name: 'Log out everywhere' }).click()
  for (const { page } of [other, mara]) await page.locator('#login').waitFor({ timeout: 20_000 })
  await other.close()
}, 60_000)

async function timeUntil(event: () => Promise<void>): Promise<number> {
  const since = performance.now()
  await event()
  return performance.now() - since
}
