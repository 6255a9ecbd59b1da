import { fileURLToPath } from 'node:url'
import { debianTool, spawnGuarded, waitFor } from '@fastify-scale/dev-services'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Rolldown, build } from 'vite'
import { expect, it } from 'vitest'
import { onEnd, publish, startApp, useRedis } from './support.ts'

const redis = useRedis()

async function bundle(): Promise<string> {
  const result = (await build({
    configFile: false,
    logLevel: 'error',
    build: {
      write: false,
      target: 'es2022',
      lib: { entry: fileURLToPath(new URL('fixtures/page.ts', import.meta.url)), formats: ['es'], fileName: 'page' },
    },
  })) as Rolldown.RolldownOutput[]
  return result.flatMap(({ output }) => output.map((chunk) => (chunk.type === 'chunk' ? chunk.code : ''))).join('')
}

it('runs in a browser, comes back after a lost connection and misses nothing', { timeout: 180_000 }, async () => {
  const code = await bundle()
  // Nothing of Node.js gets into a page, and nothing of the server.
  expect(code).not.toMatch(/from\s*["']node:|require\(|fastify-scale\/kit|ioredis/)

  const told: Record<string, { got: number[]; resyncs: string[]; tokens: string[] }> = {}
  const { app, url } = await startApp(
    {
      redis: redis.url,
      rooms: { room: { history: 100 } },
      authenticate: ({ token }) => (token === 'good' ? { sub: 'ann' } : null),
    },
    {
      after(instance) {
        instance.get('/', async (_request, reply) =>
          reply.type('text/html').send('<!doctype html><script type="module" src="/page.js"></script>'),
        )
        instance.get('/page.js', async (_request, reply) => reply.type('text/javascript').send(code))
        instance.post<{ Body: { name: string; value: never } }>('/told', async ({ body }) => {
          told[body.name] = body.value
          return {}
        })
      },
    },
  )
  const { path, args, env } = await debianTool('chromium')
  const profile = await mkdtemp(join(tmpdir(), 'realtime-page-'))
  const browser = spawnGuarded(path, [...args, `--user-data-dir=${profile}`, '--remote-debugging-port=0', url], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  })
  onEnd(async () => {
    browser.kill('SIGKILL')
    await new Promise((resolve) => browser.once('exit', resolve))
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })
  await waitFor(() => told['joined'], { timeout: 90_000 })
  expect(told['joined']).toEqual(['room'])
  for (const n of [1, 2, 3]) await publish(app, 'room', 'n', n)
  await waitFor(() => told['n']?.got.length === 3, { timeout: 15_000 })
  const [first] = [...app.io.sockets.sockets.values()]
  first?.conn.close()
  for (const n of [4, 5, 6]) await publish(app, 'room', 'n', n)
  await waitFor(() => told['n']?.got.length === 6, { timeout: 30_000 })
  expect(told['n']).toEqual({ got: [1, 2, 3, 4, 5, 6], resyncs: [], tokens: ['connect', 'connect'] })
})
