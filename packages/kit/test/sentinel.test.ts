import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type RedisServer, freePort, spawnGuarded, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { openConnections } from '../src/index.ts'

/** A sentinel, alone and quick to decide: run from the binary that runs `master`. */
async function startSentinel(master: RedisServer): Promise<{ port: number; stop(): Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-sentinel-'))
  const port = await freePort()
  const config = join(dir, 'sentinel.conf')
  writeFileSync(
    config,
    `bind 127.0.0.1\nport ${port}\ndir ${dir}\nsentinel monitor shop 127.0.0.1 ${master.port} 1\nsentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 5000\n`,
  )
  // As the master was started, and with the libraries that it has.
  const [program] = readFileSync(`/proc/${master.pid}/cmdline`, 'utf8').split(/[\0 ]/)
  const libraries = readFileSync(`/proc/${master.pid}/maps`, 'utf8').match(/\/\S+\.so[\d.]*/g) ?? []
  const env = { ...process.env, LD_LIBRARY_PATH: [...new Set(libraries.map(dirname))].join(':') }
  const child = spawnGuarded(program as string, [config, '--sentinel'], { env, stdio: 'ignore' })
  const gone = once(child, 'exit')
  return {
    port,
    async stop() {
      child.kill('SIGKILL')
      await gone
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('behind Sentinel all three kinds of connection follow a failover', { timeout: 120_000 }, async () => {
  const master = await startRedis()
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
  const sentinel = await startSentinel(master)
  const asked = new Redis(sentinel.port, '127.0.0.1', { lazyConnect: false })
  asked.on('error', () => undefined)
  try {
    // Without a replica that it knows it could not fail over.
    await waitFor(async () => ((await asked.call('SENTINEL', 'REPLICAS', 'shop')) as unknown[]).length === 1, {
      timeout: 60_000,
    })
    const connections = await openConnections({
      packageName: 'test',
      redis: { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'shop' },
      host: {},
      log: { debug() {}, info() {}, warn() {} },
    })
    const client = await connections.command({ timeout: 500 })
    const follower = connections.follower({ name: 'test' })
    const patient = connections.patient({ name: 'test' })
    const heard: string[] = []
    follower.on('message', (_channel: string, text: string) => heard.push(text))
    await waitFor(async () => (await follower.subscribe('news')) === 1)
    const works = async (text: string): Promise<boolean> => {
      await client.set('key', text)
      await patient.publish('news', text)
      return (await patient.get('key')) === text && heard.includes(text)
    }
    await waitFor(() => works('before'))

    await master.kill()
    await waitFor(() => works(`after ${heard.length}`), { timeout: 60_000, interval: 200 })
    const direct = new Redis(replica.url)
    expect(await direct.get('key')).toMatch(/^after/)
    expect(String(await direct.call('ROLE'))).toMatch(/^master/)
    direct.disconnect()
    await connections.close()
  } finally {
    asked.disconnect()
    await sentinel.stop()
    await Promise.all([master.stop(), replica.stop()])
  }
})
