import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isAlive, startRedis, startRedisCluster, waitFor, type RedisOptions, type RedisServer } from '../src/index.ts'

async function start(options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedis(options)
  onTestFinished(() => server.stop())
  return server
}

function connect(url: string): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => 50 })
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}

describe('startRedis', () => {
  test('answers for real, on loopback only, without persistence', async () => {
    const server = await start()
    const client = connect(server.url)
    await client.set('key', 'value')
    expect(await client.get('key')).toBe('value')
    expect(await client.config('GET', 'bind')).toEqual(['bind', '127.0.0.1'])
    expect(await client.config('GET', 'save')).toEqual(['save', ''])
    expect(await client.info('server')).toContain(`process_id:${server.pid}\r\n`)
  })

  test('asks for the password, which may hold any character', async () => {
    const server = await start({ password: 'a b:@/?' })
    expect(await connect(server.url).ping()).toBe('PONG')
    await expect(connect(`redis://127.0.0.1:${server.port}`).get('key')).rejects.toThrow(/NOAUTH/)
  })

  test('freeze: the connection stays and nothing answers, until thaw', async () => {
    const server = await start()
    const client = connect(server.url)
    await client.ping()
    server.freeze()
    const answer = client.ping()
    const first = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 300, 'silence'))])
    expect(first).toBe('silence')
    server.thaw()
    expect(await answer).toBe('PONG')
  })

  test('kill ends the process, restart brings it back on the same port, with its data if they were kept', async () => {
    const server = await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const { pid, url } = server
    await connect(url).set('key', 'value')
    await server.kill()
    expect(isAlive(pid)).toBe(false)
    await server.restart()
    expect(server.pid).not.toBe(pid)
    expect(server.url).toBe(url)
    const client = connect(url)
    await client.ping()
    expect(await client.get('key')).toBe('value')
  })

  test('restart of a running and of a frozen server', async () => {
    const server = await start()
    await server.restart()
    server.freeze()
    await server.restart()
    expect(await connect(server.url).ping()).toBe('PONG')
  })

  test('stop ends a frozen server too, removes the data, and may be called twice', async () => {
    const server = await startRedis()
    const [, dir = ''] = (await connect(server.url).config('GET', 'dir')) as string[]
    expect(existsSync(dir)).toBe(true)
    server.freeze()
    await Promise.all([server.stop(), server.stop()])
    await server.stop()
    expect(isAlive(server.pid)).toBe(false)
    expect(existsSync(dir)).toBe(false)
  })

  test('a given directory is made where it is missing, and kept', async () => {
    const base = mkdtempSync(join(tmpdir(), 'dev-services-'))
    onTestFinished(() => rmSync(base, { recursive: true }))
    const dir = join(base, 'made', 'for it')
    const server = await startRedis({ dir, args: ['--appendonly', 'yes'] })
    await server.stop()
    expect(existsSync(join(dir, 'appendonlydir'))).toBe(true)
  })

  test('a taken port and a wrong argument are errors that show the log', async () => {
    const server = await start()
    await expect(startRedis({ port: server.port })).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_START_FAILED',
      message: expect.stringMatching(/Address already in use/i),
    })
    await expect(startRedis({ args: ['--no-such-option', 'x'] })).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_START_FAILED',
      message: expect.stringContaining('no-such-option'),
    })
    expect(await connect(server.url).ping()).toBe('PONG')
  })

  test('twenty at once get twenty ports', async () => {
    const servers = await Promise.all(Array.from({ length: 20 }, () => start()))
    expect(new Set(servers.map(({ port }) => port)).size).toBe(20)
    expect(new Set(servers.map(({ pid }) => pid)).size).toBe(20)
  })
})

describe('startRedisCluster', () => {
  test('every node serves all keys by redirection, and notices when a node is gone', async () => {
    const cluster = await startRedisCluster()
    onTestFinished(() => cluster.stop())
    expect(cluster.nodes).toHaveLength(3)
    const { Cluster } = await import('ioredis')
    const client = new Cluster([cluster.urls[2] ?? ''])
    client.on('error', () => {})
    onTestFinished(() => client.disconnect())
    for (let i = 0; i < 100; i++) await client.set(`key-${i}`, i)
    expect(await client.get('key-99')).toBe('99')
    const sizes = await Promise.all(cluster.urls.map((url) => connect(url).dbsize()))
    expect(sizes.every((size) => size > 0)).toBe(true)
    expect(sizes.reduce((sum, size) => sum + size)).toBe(100)

    await cluster.nodes[0]?.kill()
    const survivor = connect(cluster.urls[1] ?? '')
    await waitFor(async () => (await survivor.cluster('INFO')).includes('cluster_state:fail'), { timeout: 30_000 })
    await cluster.nodes[0]?.restart()
    await waitFor(async () => (await survivor.cluster('INFO')).includes('cluster_state:ok'), { timeout: 30_000 })
  })

  test('fewer than three masters are refused', async () => {
    await expect(startRedisCluster({ masters: 2 })).rejects.toMatchObject({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' })
  })
})
