import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type RedisServer, startRedis, waitFor } from '@fastify-scale/dev-services'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const CHANGES = process.env['SOAK'] ? 1_000 : 300
const KEYS = ['a', 'b', 'c', 'd', 'e']

interface State {
  values: string[]
  versions: Record<string, number>
  seen: [key: string, version: number, value: string][]
}

let redis: RedisServer
const children: ChildProcess[] = []

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await redis.stop()
})

async function start(): Promise<(name: string, args?: object) => Promise<unknown>> {
  const child = fork(
    fileURLToPath(new URL('fixtures/process.mjs', import.meta.url)),
    [JSON.stringify({ redis: redis.url, prefix: 'attack', keys: KEYS })],
    { execArgv: [] },
  )
  children.push(child)
  await once(child, 'message')
  let last = 0
  const calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>()
  child.on('message', ({ id, result, error }: { id: number; result: unknown; error: unknown }) => {
    const call = calls.get(id)
    calls.delete(id)
    if (error) call?.reject(error)
    else call?.resolve(result)
  })
  return (name, args) =>
    new Promise((resolve, reject) => {
      calls.set(++last, { resolve, reject })
      child.send({ id: last, name, args })
    })
}

describe(`4 processes, ${CHANGES} changes, connections killed at random`, () => {
  test('every process sees every change once and in order, and ends with the same values', {
    timeout: 120_000,
  }, async () => {
    const processes = await Promise.all(Array.from({ length: 4 }, start))
    const raw = new Redis(redis.url)
    let kills = 0
    const killOne = async (): Promise<void> => {
      const list = String(await raw.client('LIST')).split('\n')
      const clients = list.filter((line) => line.includes('fastify-scale'))
      const victim = /id=(\d+)/.exec(clients[Math.floor(Math.random() * clients.length)] ?? '')?.[1]
      if (victim) kills += Number(await raw.client('KILL', 'ID', victim))
    }

    const acknowledged: [key: string, version: number, value: string][] = []
    const writers = processes.map(async (call, writer) => {
      for (let i = 0; i < CHANGES / 4; i++) {
        const key = KEYS[Math.floor(Math.random() * KEYS.length)] as string
        const value = `${writer}:${i}`
        const { version } = (await call('set', { key, value })) as { version: number }
        acknowledged.push([key, version, value])
        if (Math.random() < 0.3) await killOne()
      }
    })
    await Promise.all(writers)
    raw.disconnect()

    const expected = byKey(acknowledged.sort(([, a], [, b]) => a - b))
    const states = async (): Promise<State[]> => (await Promise.all(processes.map((call) => call('state')))) as State[]
    await waitFor(async () => (await states()).every(({ seen }) => seen.length >= CHANGES), { timeout: 20_000 })
    for (const { values, versions, seen } of await states()) {
      expect(byKey(seen)).toEqual(expected)
      for (const [index, key] of KEYS.entries()) {
        const last = expected[key]?.at(-1)
        expect([key, versions[key], values[index]]).toEqual(last)
      }
    }
    // Enough to have hit both connections of each process many times.
    expect(kills).toBeGreaterThan(CHANGES / 6)
  })
})

function byKey(changes: State['seen']): Record<string, State['seen']> {
  const groups: Record<string, State['seen']> = {}
  for (const change of changes) (groups[change[0]] ??= []).push(change)
  return groups
}
