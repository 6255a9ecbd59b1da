import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isAlive, startPostgres, waitFor, type PostgresServer } from '../src/index.ts'
import { childrenOf } from '../src/proc.ts'
import { runNode } from './run.ts'

async function start(): Promise<PostgresServer> {
  const server = await startPostgres()
  onTestFinished(() => server.stop())
  return server
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  onTestFinished(() => client.end().catch(() => {}))
  return client
}

interface Traces {
  dir: string
  segment: string
}

async function tracesOf(url: string): Promise<Traces> {
  const client = await connect(url)
  const { rows } = await client.query('show data_directory')
  await client.end()
  const dir = rows[0].data_directory
  const [, segment = ''] = readFileSync(join(dir, 'postmaster.pid'), 'utf8').split('\n')[6]?.trim().split(/\s+/) ?? []
  return { dir, segment }
}

function remains({ dir, segment }: Traces): string[] {
  const segments = execFileSync('ipcs', ['-m'], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(/\s+/)[1])
  return [...(existsSync(dir) ? [dir] : []), ...(segments.includes(segment) ? [segment] : [])]
}

describe('startPostgres', () => {
  test('answers for real, as UTF-8, on loopback only, and not as root', async () => {
    const server = await start()
    const client = await connect(server.url)
    expect((await client.query("select 1 as one, 'Grüße 🐘' as text")).rows).toEqual([{ one: 1, text: 'Grüße 🐘' }])
    expect((await client.query('show server_encoding')).rows).toEqual([{ server_encoding: 'UTF8' }])
    expect((await client.query('show listen_addresses')).rows).toEqual([{ listen_addresses: '127.0.0.1' }])
  })

  test('a wrong password is refused', async () => {
    const server = await start()
    const wrong = server.url.replace(':postgres@', ':wrong@')
    await expect(connect(wrong)).rejects.toMatchObject({ code: '28P01' })
  })

  test('createDatabase makes databases that do not see each other, and refuses a name that no URL can hold', async () => {
    const server = await start()
    const [one, two] = [await server.createDatabase(), await server.createDatabase('My-db')]
    await (await connect(one)).query('create table t (id int)')
    await expect((await connect(two)).query('select * from t')).rejects.toMatchObject({ code: '42P01' })
    await expect(server.createDatabase('My-db')).rejects.toMatchObject({
      code: 'SCALE_DEV_SERVICES_REQUEST_FAILED',
      message: expect.stringContaining('already exists'),
    })
    await expect(server.createDatabase('a"/b')).rejects.toMatchObject({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' })
  })

  test('two servers have data of their own, though the second is made from a template', async () => {
    const [one, two] = await Promise.all([start(), start()])
    await (await connect(one.url)).query('create table t (id int)')
    await expect((await connect(two.url)).query('select * from t')).rejects.toMatchObject({ code: '42P01' })
  })

  test('freeze holds open connections as well, until thaw', async () => {
    const server = await start()
    const client = await connect(server.url)
    server.freeze()
    server.freeze()
    const answer = client.query('select 1')
    const first = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 300, 'silence'))])
    expect(first).toBe('silence')
    server.thaw()
    expect((await answer).rowCount).toBe(1)
  })

  test('kill ends every process, restart brings the data back on the same port', async () => {
    const server = await start()
    const client = await connect(server.url)
    await client.query('create table t (id int)')
    await client.query('insert into t values (1)')
    const all = [server.pid, ...childrenOf(server.pid)]
    expect(all.length).toBeGreaterThan(3)
    await server.kill()
    expect(all.filter(isAlive)).toEqual([])
    await server.restart()
    expect((await (await connect(server.url)).query('select * from t')).rows).toEqual([{ id: 1 }])
  })

  test('stop ends a frozen server with open connections, twice', async () => {
    const server = await startPostgres()
    await connect(server.url)
    const all = [server.pid, ...childrenOf(server.pid)]
    server.freeze()
    await Promise.all([server.stop(), server.stop()])
    expect(all.filter(isAlive)).toEqual([])
  })

  test('neither data nor shared memory are left: after stop, after kill and stop, after SIGKILL of the parent', async () => {
    const stopped = await startPostgres()
    const one = await tracesOf(stopped.url)
    expect(remains(one)).toEqual([one.dir, one.segment])
    await stopped.stop()
    expect(remains(one)).toEqual([])

    const killed = await startPostgres()
    const two = await tracesOf(killed.url)
    await killed.kill()
    expect(remains(two)).toEqual([two.dir, two.segment])
    await killed.stop()
    expect(remains(two)).toEqual([])

    const run = runNode('fixtures/start.mjs', ['postgres'])
    await waitFor(() => run.stdout.includes('\n'), { timeout: 60_000 })
    const { url, pids } = JSON.parse(run.stdout) as { url: string; pids: number[] }
    const three = await tracesOf(url)
    run.child.kill('SIGKILL')
    await waitFor(() => !pids.some(isAlive))
    // Any start in this checkout, another test file's too, takes away what is left.
    await start()
    expect(remains(three)).toEqual([])
  })
})
