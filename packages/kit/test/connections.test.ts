import { EventEmitter } from 'node:events'
import { type RedisServer, startRedis, startRedisCluster, waitFor } from '@fastify-scale/dev-services'
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Connections, openConnections } from '../src/index.ts'

const log = { debug() {}, info() {}, warn() {} }
const packageName = '@fastify-scale/kit'
let redis: RedisServer
let open: Connections[] = []
let given: Redis[] = []

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())
afterEach(async () => {
  for (const connections of open) await connections.close()
  for (const client of given) client.disconnect()
  open = []
  given = []
})

async function connect(
  option: Parameters<typeof openConnections>[0]['redis'] = redis.url,
  host = {},
): Promise<Connections> {
  const connections = await openConnections({ packageName, redis: option, host, log })
  open.push(connections)
  return connections
}

function client(options = {}): Redis {
  const made = new Redis(redis.url, options)
  made.on('error', () => undefined)
  given.push(made)
  return made
}

async function took(work: Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work.catch(() => undefined)
  return performance.now() - start
}

test('a URL, ioredis options, a client and fastify.redis all serve', async () => {
  const own = client()
  const options = { host: redis.host, port: redis.port }
  for (const connections of [
    await connect(redis.url),
    await connect(options),
    await connect(own),
    await connect(undefined, { redis: own }),
  ]) {
    const command = await connections.command({ timeout: 1_000 })
    expect(await command.ping()).toBe('PONG')
  }
  expect(options).toEqual({ host: redis.host, port: redis.port })
})

test('neither option nor fastify.redis: the error says both ways', async () => {
  const attempt = openConnections({ packageName, redis: undefined, host: {}, log })
  await expect(attempt).rejects.toMatchObject({ code: 'SCALE_KIT_NO_REDIS' })
  await expect(attempt).rejects.toThrow(/redis:\/\/host:6379.*@fastify\/redis/)
})

test.each(['localhost:6379', 'http://x', 42, [], null, true])('refuses %s as redis', async (option) => {
  await expect(openConnections({ packageName, redis: option as string, host: {}, log })).rejects.toMatchObject({
    code: 'SCALE_KIT_OPTION',
  })
})

class Config {
  url = 'redis://:secret@host'
}
// What ioredis would take for no options at all, and connect to localhost.
test.each<[string, unknown]>([
  ['a URL object', new URL('redis://:secret@host:6379')],
  ['options of another library', { url: 'redis://:secret@host:6379' }],
  ['a promise', Promise.resolve('redis://:secret@host')],
  ['a Map', new Map([['host', 'secret']])],
  ['an object of a class that does not say where Redis is', new Config()],
  ["another library's client", Object.assign(new EventEmitter(), { options: { url: 'redis://:secret@host' } })],
])('%s is refused as redis, and nothing of it repeated', async (_name, option) => {
  const attempt = connect(option as string)
  await expect(attempt).rejects.toMatchObject({ code: 'SCALE_KIT_OPTION' })
  await expect(attempt).rejects.toThrow(/^option 'redis' of @fastify-scale\/kit must be(?!.*secret)/)
})

test('options of a class of the user serve', async () => {
  class Options {
    host = redis.host
    port = redis.port
  }
  expect(await (await (await connect(new Options())).command({ timeout: 1_000 })).ping()).toBe('PONG')
})

test.each([
  'http://me:secret@host',
  'redis://:secret/of/mine@host:6379',
  'redis://app:secret/of@mine@host:6379',
  'redis://host:port/?password=secret',
  'rediss://app:secret#mine@host:port',
  'app:secret@host:6379',
  'redis:app:secret@host',
  ['redis://app:secret@host'],
])('a password in a wrong URL is not repeated: %s', async (url) => {
  const attempt = connect(url as string)
  await expect(attempt).rejects.toMatchObject({ code: 'SCALE_KIT_OPTION' })
  await expect(attempt).rejects.toThrow(/^(?!.*(secret|mine))/s)
})

test.each(['redis://:secret/of/mine@host:6379', 'app:secret@host:6379'])(
  'with a password it says what to percent-encode: %s',
  async (url) => {
    await expect(connect(url)).rejects.toThrow(/percent-encode/)
  },
)

test("the user's own behaviour options do not reach our connections, the key prefix is handed over", async () => {
  const own = client({
    keyPrefix: 'app:',
    enableOfflineQueue: true,
    stringNumbers: true,
    replyMapping: 'resp3',
    commandTimeout: 1,
    enableAutoPipelining: true,
  })
  const connections = await connect(own)
  const command = (await connections.command({ timeout: 500 })) as Redis
  expect(connections.keyPrefix).toBe('app:')
  expect(command.options).toMatchObject({
    keyPrefix: '',
    enableOfflineQueue: false,
    stringNumbers: false,
    replyMapping: 'legacy',
    commandTimeout: 500,
  })
  await command.set('n', 1)
  expect(await command.incr('n')).toBe(2)
  const follower = connections.follower() as Redis
  expect(follower.options.commandTimeout).toBeUndefined()
  const patient = connections.patient() as Redis
  expect(patient.options).toMatchObject({ maxRetriesPerRequest: null, enableOfflineQueue: true })
})

test("on a Cluster nothing of ours reads from a replica, whatever the user's own client does", async () => {
  const own = new Cluster([{ host: '127.0.0.1', port: 1 }], { scaleReads: 'slave', lazyConnect: true })
  const connections = await connect(own)
  const made = [await connections.command({ timeout: 100 }), connections.follower(), connections.patient()] as Cluster[]
  for (const { options } of made) expect(options.scaleReads).toBe('master')
  expect(own.options.scaleReads).toBe('slave')
})

test('on a Cluster whose node is down a command is over within its bound', async () => {
  const servers = await startRedisCluster()
  const own = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })))
  own.on('error', () => undefined)
  try {
    const connections = await connect(own)
    const command = await connections.command({ timeout: 20 })
    const victim = servers.nodes[0] as RedisServer
    const direct = new Redis(victim.url)
    // A key that this node has: the others answer MOVED.
    const key = await Promise.any('abcdefgh'.split('').map(async (name) => (await direct.get(name), name)))
    direct.disconnect()
    // Whoever keeps deadlines of its own has none here.
    const unbound = await connections.command({ timeout: 20, overrides: { commandTimeout: undefined } })
    await waitFor(() =>
      unbound.get(key).then(
        () => true,
        () => false,
      ),
    )
    victim.freeze()
    const waits = unbound.get(key)
    await expect(command.get(key)).rejects.toThrow('timed out')
    victim.thaw()
    expect(await waits).toBeNull()
    await victim.kill()
    await waitFor(() =>
      command.get(key).then(
        () => false,
        () => true,
      ),
    )
    const times: number[] = []
    for (let i = 0; i < 15; i++) times.push(await took(command.get(key)))
    expect(times.toSorted((a, b) => a - b)[7]).toBeLessThan(80)
  } finally {
    own.disconnect()
    await servers.stop()
  }
})

test('closes what it made and never what it was given', async () => {
  const own = client()
  const connections = await connect(own)
  const made = [await connections.command({ timeout: 1_000 }), connections.follower(), connections.patient()]
  await connections.close()
  await connections.close()
  for (const each of made) expect(each.status).toBe('end')
  expect(await own.ping()).toBe('PONG')
})

test('on a frozen Redis a command is over within its bound, and on its return all is well', async () => {
  const server = await startRedis()
  try {
    const connections = await connect(server.url)
    const command = await connections.command({ timeout: 100 })
    await command.set('k', 'v')
    server.freeze()
    const attempt = command.get('k')
    expect(await took(attempt)).toBeLessThan(500)
    await expect(attempt).rejects.toThrow(/timed out/)
    server.thaw()
    await waitFor(async () => (await command.get('k').catch(() => null)) === 'v', { timeout: 5_000 })
  } finally {
    await server.stop()
  }
})

test('on a killed Redis a command fails at once, pending ones too, and the connection comes back by itself', async () => {
  const server = await startRedis()
  try {
    const connections = await connect(server.url)
    const command = await connections.command({ timeout: 10_000 })
    const patient = connections.patient()
    server.freeze()
    const pending = command.get('k')
    const failed = expect(pending).rejects.toThrow()
    await server.kill()
    expect(await took(pending)).toBeLessThan(2_500)
    await failed
    expect(await took(command.get('k'))).toBeLessThan(500)
    const waiting = patient.set('k', 'patient')
    await server.restart()
    expect(await waiting).toBe('OK')
    await waitFor(async () => (await command.get('k').catch(() => null)) === 'patient', { timeout: 5_000 })
  } finally {
    await server.stop()
  }
})

// Fastify gives a plugin 10 s.
test.each([100, 60_000])('registration waits for a dead Redis only within its bound: %i', async (timeout) => {
  // Nobody listens there, while the port of a server that was stopped may be another's by now.
  const connections = await connect('redis://127.0.0.1:1')
  const start = performance.now()
  const command = await connections.command({ timeout })
  expect(performance.now() - start).toBeLessThan(7_500)
  await expect(command.get('k')).rejects.toThrow()
})
