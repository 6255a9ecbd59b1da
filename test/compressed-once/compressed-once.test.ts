import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { type RedisServer, startRedis } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'

let redis: RedisServer
let processes: ChildProcess[] = []
let urls: string[] = []

beforeAll(async () => {
  redis = await startRedis()
  processes = [1, 2].map(() =>
    fork(new URL('server.mjs', import.meta.url).pathname, {
      execArgv: [],
      env: { ...process.env, REDIS_URL: redis.url },
    }),
  )
  urls = await Promise.all(
    processes.map(
      async (child) => `http://127.0.0.1:${((await once(child, 'message')) as [{ port: number }])[0].port}`,
    ),
  )
})
afterAll(async () => {
  for (const child of processes) {
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  await redis.stop()
})

function ask(url: string): Promise<{ encoding: string | undefined; vary: string | undefined; body: Buffer }> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host: 'service.example', 'accept-encoding': 'gzip' }, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          encoding: response.headers['content-encoding'],
          vary: response.headers.vary,
          body: Buffer.concat(chunks),
        }),
      )
    }).on('error', reject)
  })
}

test('300 requests at once on 2 processes, nothing cached: 1 render and 1 compression, and every answer is whole', async () => {
  const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => ask(`${urls[i % 2]}/page`)))
  const bodies = new Set(answers.map(({ body }) => gunzipSync(body).toString()))
  expect(bodies.size).toBe(1)
  expect((JSON.parse([...bodies][0] as string) as { rows: unknown[] }).rows).toHaveLength(500)
  for (const { encoding, vary } of answers) {
    expect(encoding).toBe('gzip')
    expect(vary?.toLowerCase()).toContain('accept-encoding')
  }
  const counts = await Promise.all(
    urls.map(async (url) => (await (await fetch(`${url}/counts`)).json()) as { renders: number; compressions: number }),
  )
  const sum = (pick: 'renders' | 'compressions') => counts.reduce((total, count) => total + count[pick], 0)
  expect({ renders: sum('renders'), compressions: sum('compressions') }).toEqual({ renders: 1, compressions: 1 })
})

test("a route's own word about compression holds where its answers are cached", async () => {
  for (let again = 0; again < 2; again++) {
    const secret = await ask(`${urls[0]}/secret`)
    expect([secret.encoding, secret.body.length]).toEqual([undefined, 7_000])
    const small = await ask(`${urls[0]}/small`)
    expect(small.encoding).toBe('gzip')
    expect(gunzipSync(small.body).toString()).toBe('small '.repeat(50))
  }
})
