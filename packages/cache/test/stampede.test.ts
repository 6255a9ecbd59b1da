import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { waitFor } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KINDS, type Servers, startServers } from './servers.ts'
import { uniquePrefix } from './support.ts'

interface Message {
  ready?: number
  loading?: number
  answers?: number[]
}

describe.each(KINDS)('on %s', (kind) => {
  let servers: Servers
  let admin: Servers['admin']
  let prefix: string
  let children: { process: ChildProcess; messages: Message[] }[] = []

  beforeAll(async () => {
    servers = await startServers(kind)
    admin = servers.admin
    prefix = uniquePrefix()
    children = Array.from({ length: 4 }, () => {
      const messages: Message[] = []
      const child = fork(
        fileURLToPath(new URL('fixtures/stampede-child.mjs', import.meta.url)),
        [JSON.stringify({ ...servers.address, prefix, lease: 1_000 })],
        { execArgv: [] },
      )
      child.on('message', (message) => messages.push(message as Message))
      return { process: child, messages }
    })
    await waitFor(() => children.every(({ messages }) => messages.some(({ ready }) => ready)), { timeout: 60_000 })
  })
  afterAll(async () => {
    for (const { process } of children) process.kill('SIGKILL')
    await servers.stop()
  })

  const ask = (key: string, ms: number, ttl = 60_000): void => {
    for (const child of children) {
      child.messages.length = 0
      child.process.send({ key, callers: 50, ms, ttl })
    }
  }
  const answered = (count: number): Promise<unknown> =>
    waitFor(() => children.filter(({ messages }) => messages.some(({ answers }) => answers)).length === count, {
      timeout: 60_000,
    })
  const answers = (): number[] =>
    children.flatMap(({ messages }) => messages.flatMap((message) => message.answers ?? []))
  const loads = async (key: string): Promise<number> => Number(await admin.get(`loads:${prefix}:${key}`))

  test('200 callers in 4 processes make one load, cold and again when the value has run out', async () => {
    ask('k', 300, 500)
    await answered(4)
    expect(await loads('k')).toBe(1)
    expect(answers()).toEqual(Array.from({ length: 200 }, () => 1))
    const value = `${prefix}:1:v:{:k}`
    await waitFor(async () => (await admin.exists(value)) === 0)
    ask('k', 300)
    await answered(4)
    expect(await loads('k')).toBe(2)
    expect(answers()).toEqual(Array.from({ length: 200 }, () => 2))
  })

  test('a load longer than the lease keeps it', async () => {
    ask('long', 3_500)
    await answered(4)
    expect(await loads('long')).toBe(1)
  })

  // The last one: one of the processes is gone after it.
  test('a holder that is killed in the middle of its load is replaced by exactly one other', async () => {
    ask('killed', 1_500)
    const holder = await waitFor(() => children.find(({ messages }) => messages.some(({ loading }) => loading)))
    holder.process.kill('SIGKILL')
    await answered(3)
    expect(await loads('killed')).toBe(2)
    expect(answers()).toEqual(Array.from({ length: 150 }, () => 2))
  })
})
