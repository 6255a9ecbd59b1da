import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LUA_LATE, createRedisClock, defineScript } from '../src/index.ts'

let server: RedisServer
let client: Redis
beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
  client.on('error', () => undefined)
})
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

const setUnlessLate = defineScript(`${LUA_LATE}
if late(ARGV[1]) then return 'late' end
return redis.call('SET', KEYS[1], ARGV[2])`)

test('runs by its hash, also after the server forgot it', async () => {
  const double = defineScript('return ARGV[1] * 2')
  expect(await double(client, [], [21])).toBe(42)
  await client.script('FLUSH')
  expect(await double(client, [], [4])).toBe(8)
  const bytes = defineScript('return ARGV[1]', { buffers: true })
  expect(await bytes(client, [], [Buffer.from([0, 255, 13])])).toEqual(Buffer.from([0, 255, 13]))
})

test('an error of the script itself is not taken for an unknown script', async () => {
  await expect(defineScript("return redis.error_reply('MINE no')")(client, [], [])).rejects.toThrow('MINE no')
})

test('a script whose deadline passed while the server was stalled does nothing', async () => {
  const clock = createRedisClock(client)
  expect(await setUnlessLate(client, ['a'], [await clock.deadline(5_000), 'in time'])).toBe('OK')
  const deadline = await clock.deadline(50)
  server.freeze()
  const reply = setUnlessLate(client, ['b'], [deadline, 'late'])
  const until = performance.now() + 60
  await waitFor(() => performance.now() > until, { timeout: 5_000 })
  server.thaw()
  expect(await reply).toBe('late')
  expect(await client.get('b')).toBeNull()
})

test('the clock follows the server over a restart', async () => {
  const clock = createRedisClock(client)
  await clock.deadline(1)
  await server.restart()
  await waitFor(async () => client.status === 'ready', { timeout: 5_000 })
  const [seconds, micros] = await client.time()
  const redisNow = Number(seconds) * 1_000 + Number(micros) / 1_000
  expect(Math.abs((await clock.deadline(1_000)) - redisNow - 1_000)).toBeLessThan(1_000)
})
