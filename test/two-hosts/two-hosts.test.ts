import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { debianTool, freePort, isAlive, killTree, spawnGuarded, waitFor } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Photo } from '../../example-app/src/db/photos.ts'
import { type Browser, addPhoto, enter, keep, startBrowser } from '../../example-app/test/support/browser.ts'
import {
  type Answer,
  type OpenPage,
  type Tokens,
  call,
  makePng,
  openPage,
  plain,
  signUp,
  uploadPhoto,
} from '../../example-app/test/support/client.ts'
import { landscape } from '../../example-app/test/support/pictures.ts'
import { startTwoHosts } from '../../example-app/two-hosts.mjs'
import { type Load, startLoad } from './load.ts'

/** The promise is a second; a busy machine gets five. */
const AT_ONCE_MS = 5_000
const LOAD_REQUESTS = 150

type TwoHosts = Awaited<ReturnType<typeof startTwoHosts>>
let board: TwoHosts
let anna: Tokens
let ben: Tokens
let output = ''

beforeAll(async () => {
  const { PATH, HOME } = process.env
  board = await startTwoHosts({
    port: await freePort(),
    environment: { PATH, HOME, SIGNUP_LIMIT: '1000' },
    onOutput: (name, text) => {
      output += `${name}: ${text}`
    },
  })
  anna = await signUp(board.url, 'anna')
  ben = await signUp(board.url, 'ben')
}, 300_000)

afterAll(async () => {
  await board?.stop()
}, 120_000)

const hostOf = (answer: Answer<unknown>): string => String(answer.headers['x-served-by']).split('/')[0] as string
// Where there are no namespaces the hosts have one name: then the process tells them apart.
const placeOf = (answer: Answer<unknown>): string => (board.namespaces ? hostOf(answer) : String(answer.pid))
const heldAt = (page: OpenPage): string => (board.namespaces ? page.host : String(page.worker))

/** Asks until both hosts have answered; `check` sees every answer. */
async function onBoth(ask: () => Promise<Answer<unknown>>, check: (answer: Answer<unknown>) => boolean): Promise<void> {
  const places = new Set<string>()
  await waitFor(
    async () => {
      const answer = await ask()
      if (check(answer)) places.add(placeOf(answer))
      return places.size === 2
    },
    { timeout: 30_000, interval: 50 },
  )
}

async function pageElsewhere(token: string, other: OpenPage): Promise<OpenPage> {
  return waitFor(
    async () => {
      const page = await openPage(board.url, token)
      if (heldAt(page) !== heldAt(other)) return page
      page.close()
      return undefined
    },
    { timeout: 30_000 },
  )
}

test('the whole main job through nginx, on both hosts', async () => {
  const annas = await openPage(board.url, anna.accessToken)
  const bens = await pageElsewhere(ben.accessToken, annas)
  const png = makePng(300)
  const since = performance.now()
  const uploaded = await uploadPhoto(board.url, anna.accessToken, 'At the lake', png)
  expect(uploaded.status).toBe(201)
  await waitFor(() => annas.photos.length === 1 && bens.photos.length === 1)
  expect(performance.now() - since).toBeLessThan(AT_ONCE_MS)
  expect(bens.photos.map(plain)).toEqual([uploaded.body])

  // The list of both, at once and from then on; then gone from both.
  await onBoth(
    () => call<{ photos: Photo[] }>(`${board.url}/api/photos`),
    (list) => {
      expect(plain((list.body as { photos: Photo[] }).photos[0])).toEqual(uploaded.body)
      return true
    },
  )
  const original = await call(`${board.url}/api/photos/${uploaded.body.id}/original`, { token: ben.accessToken })
  const object = await fetch(String(original.headers['location']))
  expect(Buffer.from(await object.arrayBuffer()).equals(png)).toBe(true)

  // An upload larger than any buffer of nginx streams through.
  const large = await uploadPhoto(board.url, ben.accessToken, 'Large', Buffer.concat([png, randomBytes(8_000_000)]))
  expect(large.status).toBe(201)
  await waitFor(() => annas.photos.some(({ caption }) => caption === 'Large'))

  // The client's address reaches the app, so that limits hold through a balancer.
  const carla = await signUp(board.url, 'carla')
  const fresh = await call<Tokens>(`${board.url}/api/session/refresh`, {
    method: 'POST',
    json: { refreshToken: carla.refreshToken },
  })
  expect(fresh.status).toBe(200)
  const { accessToken } = fresh.body
  await onBoth(
    () => call(`${board.url}/api/me`, { token: accessToken }),
    ({ status }) => status === 200,
  )
  expect((await call(`${board.url}/api/logout`, { method: 'POST', token: accessToken })).status).toBe(204)
  await onBoth(
    () => call(`${board.url}/api/me`, { token: accessToken }),
    ({ status }) => status === 401,
  )
  annas.close()
  bens.close()
}, 120_000)

test('two browsers on two hosts see each other’s photo, like and presence at once, and the banner', async () => {
  const browser: Browser = await startBrowser()
  try {
    const one = await browser.open(board.url)
    await enter(one.page, 'admin')
    const held = (page: typeof one.page) => page.locator('#live').getAttribute('title')
    const place = async (page: typeof one.page): Promise<string | undefined> =>
      (await held(page))?.split('/')[board.namespaces ? 0 : 1]
    const two = await browser.open(board.url)
    await enter(two.page, 'dora')
    await waitFor(
      async () => {
        if ((await place(two.page)) !== (await place(one.page))) return true
        await two.page.reload()
        await two.page.locator('#live.colored').waitFor()
        return false
      },
      { timeout: 60_000 },
    )
    for (const { page } of [one, two])
      await page.locator('#present', { hasText: 'admin, dora' }).waitFor({ timeout: AT_ONCE_MS })
    const since = performance.now()
    await Promise.all([
      addPhoto(one.page, { file: await landscape(['#bfe6ff', '#6ab0dd'], '#245663'), caption: 'The coast' }),
      two.page.locator('.caption', { hasText: 'The coast' }).waitFor(),
    ])
    expect(performance.now() - since).toBeLessThan(AT_ONCE_MS)
    const like = (page: typeof one.page) => page.locator('#photos > li', { hasText: 'The coast' }).locator('.like')
    await like(two.page).click()
    await like(one.page).filter({ hasText: '1' }).waitFor({ timeout: AT_ONCE_MS })
    await one.page.getByLabel('Banner on every page').fill('Two hosts, one board')
    await one.page.getByRole('button', { name: 'Show', exact: true }).click()
    for (const { page } of [one, two])
      await page.locator('#banner', { hasText: 'Two hosts, one board' }).waitFor({ timeout: AT_ONCE_MS })
    // Both hosts are in the cluster view, and an admin's order reaches the one that does not hold this page.
    await waitFor(async () => (await one.page.locator('.tile.ready').count()) === 2, { timeout: 20_000 })
    const tiles = (page: typeof one.page) => page.locator('.tile.ready h4 > span:nth-child(2)').allTextContents()
    const before = await tiles(one.page)
    for (const button of await one.page.getByRole('button', { name: /^Reload all workers/ }).all()) await button.click()
    await waitFor(
      async () => {
        const now = await tiles(one.page)
        return now.length === 2 && now.every((pid) => !before.includes(pid))
      },
      { timeout: 60_000, interval: 200 },
    )
    expect(await one.page.locator('#failed').textContent()).toBe('0')
    await keep(one.page, 'two-hosts-1440')
    expect([one.problems, two.problems].flat().filter((line) => !/WebSocket/.test(line))).toEqual([])
  } finally {
    await browser.close()
  }
}, 180_000)

function startBoardLoad(): Load {
  const png = makePng(32)
  const authorization = `Bearer ${anna.accessToken}`
  let liked = 0
  return startLoad({
    list: () => fetch(`${board.url}/api/photos?limit=10`),
    me: () => fetch(`${board.url}/api/me`, { headers: { authorization } }),
    like: () =>
      fetch(`${board.url}/api/photos/1/like`, { method: liked++ % 2 ? 'DELETE' : 'PUT', headers: { authorization } }),
    upload: () => {
      const form = new FormData()
      form.set('caption', 'under load')
      form.set('file', new Blob([new Uint8Array(png)], { type: 'image/png' }), 'load.png')
      return fetch(`${board.url}/api/photos`, { method: 'POST', headers: { authorization }, body: form })
    },
  })
}

async function more(load: Load): Promise<void> {
  const from = load.answered()
  await waitFor(() => load.answered() > from + LOAD_REQUESTS, { timeout: 60_000 })
}

test('a host is stopped under load and started again: no request fails', async () => {
  const [, host] = board.hosts as [TwoHosts['hosts'][0], TwoHosts['hosts'][0]]
  const load = startBoardLoad()
  await more(load)
  await host.stop()
  expect(host.launcher).toBeUndefined()
  await more(load)
  await host.start()
  await onBoth(
    () => call(`${board.url}/api/photos?limit=1`),
    ({ status }) => status === 200,
  )
  await more(load)
  await load.stop()
  console.log(`graceful stop of a host: ${load.answered()} requests, ${load.failures.length} failed`)
  expect(load.failures).toEqual([])
}, 240_000)

test('a host is killed hard: only requests inside it fail, and live clients are back by themselves', async () => {
  const first = await openPage(board.url, ben.accessToken)
  const second = await pageElsewhere(ben.accessToken, first)
  const [, host] = board.hosts as [TwoHosts['hosts'][0], TwoHosts['hosts'][0]]
  const load = startBoardLoad()
  await more(load)
  const pid = host.launcher?.pid as number
  await killTree(pid)
  const killed = performance.now()
  await waitFor(() => host.launcher === undefined)
  const [status, text] = await uploadPhoto(board.url, anna.accessToken, 'While a host is gone').then((answer) => [
    answer.status,
    answer.body,
  ])
  expect(status, JSON.stringify(text)).toBe(201)
  await more(load)
  await load.stop()
  console.log(
    `hard kill of a host: ${load.answered()} requests, ${load.failures.length} failed: ${JSON.stringify(load.failures)}`,
  )
  // Nothing that began when it was gone, and nothing that may be sent twice.
  expect(load.failures.filter(({ from }) => from > killed)).toEqual([])
  expect(load.failures.filter(({ what }) => what !== 'upload')).toEqual([])
  // Each lane had at most one request inside.
  expect(load.failures.length).toBeLessThanOrEqual(3)

  for (const page of [first, second])
    await waitFor(() => page.photos.some(({ caption }) => caption === 'While a host is gone'), { timeout: 30_000 })
  expect(heldAt(first)).toBe(heldAt(second))
  first.close()
  second.close()
  await host.start()
}, 240_000)

test('HAProxy does as well', async () => {
  const tool = await debianTool('haproxy')
  const port = await freePort()
  const [a, b] = board.hosts as [TwoHosts['hosts'][0], TwoHosts['hosts'][0]]
  const haproxy = spawnGuarded(
    tool.path,
    [...tool.args, '-f', fileURLToPath(new URL('../../deploy/haproxy.cfg', import.meta.url)), '-db'],
    {
      env: {
        ...process.env,
        ...tool.env,
        LISTEN: `127.0.0.1:${port}`,
        HOST_A: a.address,
        HOST_B: b.address,
        ADMIN_PORT_A: a.admin.split(':')[1],
        ADMIN_PORT_B: b.admin.split(':')[1],
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  let said = ''
  haproxy.stderr?.on('data', (data: Buffer) => {
    said += data.toString()
  })
  const url = `http://127.0.0.1:${port}`
  try {
    await waitFor(
      async () => {
        if (haproxy.exitCode !== null) return true
        return (await fetch(`${url}/api/banner`)).ok
      },
      { timeout: 20_000, message: 'HAProxy serves' },
    )
    expect(haproxy.exitCode, said).toBeNull()
    await onBoth(
      () => call(`${url}/api/photos?limit=1`),
      ({ status }) => status === 200,
    )
    const page = await openPage(url, anna.accessToken)
    const uploaded = await uploadPhoto(url, ben.accessToken, 'Through HAProxy')
    expect(uploaded.status).toBe(201)
    await waitFor(() => page.photos.some(({ id }) => id === uploaded.body.id))
    page.close()

    const load = startLoad({ list: () => fetch(`${url}/api/photos?limit=10`) })
    await more(load)
    await b.stop()
    await more(load)
    await load.stop()
    expect(load.failures).toEqual([])
    await b.start()
  } finally {
    if (haproxy.exitCode === null) {
      const gone = once(haproxy, 'exit')
      haproxy.kill('SIGTERM')
      await gone
    }
  }
}, 180_000)

test('no process complained', () => {
  const bad = output.split('\n').filter((line) => /"level":(50|60)/.test(line))
  expect(bad).toEqual([])
})

test('where there are no namespaces the hosts are two ports; stopping leaves nothing behind', async () => {
  const { PATH, HOME } = process.env
  const ports = await startTwoHosts({ port: await freePort(), environment: { PATH, HOME }, namespaces: false })
  const pids = ports.hosts.map(({ launcher }) => launcher?.pid as number)
  const answers = new Set<number>()
  await waitFor(async () => answers.add((await call(`${ports.url}/api/banner`)).pid).size === 2, { timeout: 30_000 })
  await ports.stop()
  for (const pid of [...pids, ...answers]) expect(isAlive(pid)).toBe(false)
  await expect(fetch(ports.url)).rejects.toThrow()
}, 180_000)
