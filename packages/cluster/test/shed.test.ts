import { afterEach, expect, test } from 'vitest'
import { waitFor } from './helpers.ts'
import { type Launcher, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

/** Keeps the only worker's event loop busy until `until` says so; what was answered, and how often. */
async function overload(launcher: Launcher, until: (statuses: Map<number, number>) => boolean): Promise<Response[]> {
  const statuses = new Map<number, number>()
  const refused: Response[] = []
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (!until(statuses)) {
        const response = await fetch(`${launcher.url}/burn?ms=250`)
        await response.text()
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
        if (response.status === 503) refused.push(response)
      }
    }),
  )
  expect([...statuses.keys()].filter((status) => status !== 200 && status !== 503)).toEqual([])
  return refused
}

test('--shed: 503 with Retry-After while the event loop cannot keep up, and 200 again afterwards', async () => {
  const launcher = await startLauncher({ workers: '1', args: ['--shed'] })
  cleanups.push(() => launcher.stop('SIGKILL'))
  expect((await fetch(launcher.url)).status).toBe(200)
  const refused = await overload(launcher, (statuses) => (statuses.get(503) ?? 0) >= 5)
  expect(refused.map(({ headers }) => headers.get('retry-after'))).toEqual(refused.map(() => '5'))
  await waitFor(async () => (await fetch(launcher.url)).status === 200, { interval: 200 })
  // It was not replaced for that.
  expect((await launcher.status()).slots[0]).toMatchObject({ restarts: 0, generation: 0, state: 'ready' })
}, 60_000)

test('without it every request is answered, late', async () => {
  const launcher = await startLauncher({ workers: '1' })
  cleanups.push(() => launcher.stop('SIGKILL'))
  expect(await overload(launcher, (statuses) => (statuses.get(200) ?? 0) >= 20)).toEqual([])
}, 60_000)
