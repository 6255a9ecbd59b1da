import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Connection } from '../src/primary/dispatcher.ts'
import type { NativeHandle } from '../src/primary/listener.ts'
import { createStickyDispatcher } from '../src/primary/sticky/dispatcher.ts'
import { homeOf, keyOf } from '../src/primary/sticky/hash.ts'
import { findHeader, type HeadResult, MAX_HEAD } from '../src/primary/sticky/head.ts'
import { createReadAhead } from '../src/primary/sticky/read-ahead.ts'
import { parseSticky } from '../src/primary/sticky/sticky.ts'
import { waitFor } from './helpers.ts'
import { type Launcher, runClient, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

describe('the option', () => {
  test('names an address or a header', () => {
    expect(parseSticky('ip')).toEqual({ by: 'ip' })
    expect(parseSticky('header:X-User')).toEqual({ by: 'header', header: 'x-user' })
  })

  test.each([
    '',
    'cookie',
    'header',
    'header:',
    'header:a b',
    'header:a\r\nb',
    'header:é',
    `header:${'x'.repeat(101)}`,
  ])('is not %j', (value) => {
    expect(() => parseSticky(value)).toThrow(expect.objectContaining({ code: 'SCALE_CLUSTER_OPTION' }))
  })
})

describe('the slot for a key', () => {
  const keys = Array.from({ length: 10_000 }, (_, i) => keyOf(`10.0.${i >> 8}.${i & 255}`))

  test('is even', () => {
    const counts = [0, 0, 0, 0]
    for (const key of keys) (counts[homeOf(key, [0, 1, 2, 3]) as number] as number)++
    for (const count of counts) expect(Math.abs(count - 2_500)).toBeLessThan(250)
  })

  test('stays the same where others come or go, whatever their order', () => {
    for (const key of keys) {
      const home = homeOf(key, [0, 1, 2, 3]) as number
      expect(homeOf(key, [3, 1, 0, 2])).toBe(home)
      const gone = (home + 1) % 4
      expect(
        homeOf(
          key,
          [0, 1, 2, 3].filter((slot) => slot !== gone),
        ),
      ).toBe(home)
      expect([home, 4]).toContain(homeOf(key, [0, 1, 2, 3, 4]))
    }
    expect(homeOf(1, [])).toBeUndefined()
  })
})

describe('the dispatcher', () => {
  interface Fake {
    id: number
    slot: number
    got: number[]
    alive: boolean
    take(connection: Connection): boolean
  }
  function worker(id: number, slot: number): Fake {
    const self: Fake = {
      id,
      slot,
      got: [],
      alive: true,
      take({ handle }) {
        if (self.alive) self.got.push(handle.stickyKey as number)
        return self.alive
      },
    }
    return self
  }
  const connection = (key: number): Connection => ({ handle: { close: () => undefined, stickyKey: key }, idle: false })
  const homed = (slot: number, count: number): number[] => {
    const keys: number[] = []
    for (let key = 0; keys.length < count; key++) if (homeOf(key, [0, 1]) === slot) keys.push(key)
    return keys
  }

  test('gives the same key to the same slot, and to its newest worker while one replaces another', () => {
    const dispatcher = createStickyDispatcher()
    const [a, b, c] = [worker(1, 0), worker(2, 1), worker(3, 0)]
    dispatcher.add(a)
    dispatcher.add(b)
    const [first, second] = homed(0, 2) as [number, number]
    dispatcher.accept(connection(first))
    dispatcher.took(1, 1)
    dispatcher.add(c)
    dispatcher.accept(connection(first))
    dispatcher.remove(1)
    dispatcher.accept(connection(second))
    expect([a.got, b.got, c.got]).toEqual([[first], [], [first, second]])
  })

  test('what waits for one that goes or dies is given to the next, and nothing is lost', () => {
    const dispatcher = createStickyDispatcher()
    const [a, b] = [worker(1, 0), worker(2, 0)]
    dispatcher.accept(connection(1))
    dispatcher.add(a)
    for (const key of [2, 3, 4, 5]) dispatcher.accept(connection(key))
    expect([a.got, dispatcher.waiting]).toEqual([[1, 2], 3])
    dispatcher.remove(1)
    expect(dispatcher.waiting).toBe(3)
    // It died with what it had been sent: that comes first.
    dispatcher.dead(1)
    expect([dispatcher.waiting, dispatcher.rescued]).toEqual([5, 2])
    dispatcher.add(b)
    dispatcher.took(2, 2)
    dispatcher.took(2, 2)
    expect([...b.got].sort()).toEqual([1, 2, 3, 4, 5])
  })

  test('a channel that is gone costs no connection', () => {
    const dispatcher = createStickyDispatcher()
    const [a, b] = [worker(1, 0), worker(2, 0)]
    a.alive = false
    dispatcher.add(a)
    dispatcher.accept(connection(1))
    expect(dispatcher.waiting).toBe(1)
    dispatcher.dead(1)
    dispatcher.add(b)
    expect(b.got).toEqual([1])
  })

  test('one that has no key goes anywhere; what waits is closed at the end', () => {
    const dispatcher = createStickyDispatcher(() => 0)
    let closed = 0
    const unknown: Connection = { handle: { close: () => closed++ }, idle: false }
    dispatcher.accept(unknown)
    expect(dispatcher.waiting).toBe(1)
    dispatcher.close()
    expect([dispatcher.waiting, closed]).toEqual([0, 1])
  })
})

describe('finding a header in the first bytes', () => {
  const find = (text: string): HeadResult => findHeader(Buffer.from(text, 'latin1'), 'x-user')

  test.each<[string, HeadResult]>([
    ['GET / HTTP/1.1\r\nX-User: ann\r\n', { value: 'ann' }],
    ['\r\nGET / HTTP/1.1\r\nhost: x\r\nx-USER:ann \r\nx-user: bob\r\n\r\n', { value: 'ann' }],
    ['GET / HTTP/1.1\r\nX-User: ann', 'more'],
    ['GET / HTTP/1.1\r\nX-User: ann\r', 'more'],
    ['', 'more'],
    ['G', 'more'],
    ['GET / HTTP/1.1\r\nhost: x\r\n\r\nX-User: ann\r\n', 'none'],
    ['GET /?X-User: ann HTTP/1.1\r\n\r\n', 'none'],
    ['X-User: ann\r\n\r\n', 'none'],
    ['GET / HTTP/1.1\r\nX-User:\r\n', 'none'],
    ['GET / HTTP/1.1\r\nX-User : ann\r\n\r\n', 'none'],
    ['GET / HTTP/1.1\r\nhost: x\r\n X-User: ann\r\n\r\n', 'none'],
    ['GET / HTTP/1.1\r\nNot-X-User: ann\r\n\r\n', 'none'],
    ['\x16\x03\x01', 'none'],
    ['\0', 'none'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'none'],
    [`GET /${'a'.repeat(MAX_HEAD)}`, 'none'],
  ])('%j', (text, result) => {
    expect(find(text)).toEqual(result)
  })

  test('however the bytes are cut, the answer is the same', () => {
    const text = 'POST /a?b HTTP/1.1\r\nHost: x\r\nX-User: ann\r\nContent-Length: 2\r\n\r\nhi'
    const end = text.indexOf('ann\r\n') + 5
    for (let cut = 0; cut <= text.length; cut++)
      expect(find(text.slice(0, cut))).toEqual(cut < end ? 'more' : { value: 'ann' })
  })

  test('garbage is never an error', () => {
    let seed = 1
    const next = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 16
    for (let i = 0; i < 2_000; i++) {
      const bytes = Buffer.from(
        Array.from({ length: next() % 200 }, () => ':\r\n GETx-user\0\xff'.charCodeAt(next() % 16)),
      )
      const found = findHeader(bytes, 'x-user')
      expect(typeof found === 'object' ? typeof found.value : found).toMatch(/^(string|none|more)$/)
    }
  })
})

describe('reading ahead', () => {
  async function reader(
    time?: number,
  ): Promise<{ open(): Promise<Socket>; read: [string | undefined, string][]; flush(): void }> {
    const ahead = createReadAhead('x-user', time)
    const read: [string | undefined, string][] = []
    const server = createTcpServer({ pauseOnConnect: true }, (socket) => {
      const own = socket as Socket & { _handle: NativeHandle | null }
      const handle = own._handle as NativeHandle
      own._handle = null
      ahead.read(handle, (value, bytes) => {
        read.push([value, bytes.toString('latin1')])
        handle.close()
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => server.close())
    return {
      read,
      flush: ahead.flush,
      async open() {
        const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
        cleanups.push(() => socket.destroy())
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        return socket
      },
    }
  }

  test('stops at the header, and gives every byte that it took', async () => {
    const { open, read } = await reader()
    const socket = await open()
    socket.write('GET / HTTP/1.1\r\nX-Us')
    await new Promise((resolve) => setImmediate(resolve))
    socket.write('er: ann\r\nmore')
    await waitFor(() => read.length === 1)
    expect(read).toEqual([['ann', 'GET / HTTP/1.1\r\nX-User: ann\r\nmore']])
  })

  test('is bounded in time, bytes and pieces', async () => {
    const { open, read } = await reader(200)
    const slow = await open()
    slow.write('GET / HT')
    await open()
    await waitFor(() => read.length === 2)
    expect(read.sort((a, b) => a[1].length - b[1].length)).toEqual([
      [undefined, ''],
      [undefined, 'GET / HT'],
    ])
    const long = await reader()
    ;(await long.open()).write('x'.repeat(MAX_HEAD))
    await waitFor(() => long.read.length === 1)
    expect(long.read).toEqual([[undefined, 'x'.repeat(MAX_HEAD)]])
  })

  test('one that leaves is forgotten, unless it said something', async () => {
    const { open, read } = await reader()
    ;(await open()).destroy()
    ;(await open()).end('GET / HTTP/1.1\r\n')
    await waitFor(() => read.length === 1)
    expect(read).toEqual([[undefined, 'GET / HTTP/1.1\r\n']])
  })

  test('passes on at once what waits, when it is told to', async () => {
    const { open, read, flush } = await reader()
    ;(await open()).write('GET')
    await open()
    // The server has both.
    await waitFor(() => {
      flush()
      return read.length === 2
    })
  })
})

describe('under the launcher', () => {
  async function start(sticky: string, workers = '3'): Promise<Launcher> {
    const launcher = await startLauncher({ workers, args: ['--sticky', sticky] })
    cleanups.push(() => launcher.stop('SIGKILL'))
    return launcher
  }

  /** The slot that answers one request on a connection of its own. */
  function slotOf(launcher: Launcher, from: { address?: string; header?: string }): Promise<number> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: launcher.port, host: '127.0.0.1', localAddress: from.address })
      let text = ''
      socket.on('error', reject)
      socket.on('data', (chunk) => (text += chunk))
      socket.on('close', () => resolve(Number(/"slot":(\d)/.exec(text)?.[1] ?? Number.NaN)))
      const header = from.header === undefined ? '' : `X-User: ${from.header}\r\n`
      socket.write(`GET / HTTP/1.1\r\nHost: test\r\n${header}Connection: close\r\n\r\n`)
    })
  }

  test.each([
    ['ip', (i: number) => ({ address: `127.0.1.${i + 1}` })],
    ['header:X-User', (i: number) => ({ header: `user-${i}` })],
  ] as const)(
    '%s: the same client has the same worker, and its replacement after a reload',
    async (sticky, client) => {
      const launcher = await start(sticky)
      const all = Array.from({ length: 24 }, (_, i) => client(i))
      const homes = (): Promise<number[]> => Promise.all(all.map((one) => slotOf(launcher, one)))
      const first = await homes()
      expect(first.every((slot) => slot >= 0 && slot < 3)).toBe(true)
      expect(new Set(first).size).toBe(3)
      for (let i = 0; i < 3; i++) expect(await homes()).toEqual(first)
      expect(await launcher.ask('reload')).toMatchObject({ ok: true })
      expect(await homes()).toEqual(first)
      // A worker less moves those that it had, and no other.
      await launcher.ask('scale', 2)
      const fewer = await homes()
      for (const [i, slot] of first.entries()) if (slot < 2) expect(fewer[i]).toBe(slot)
    },
    60_000,
  )

  test.each(['ip', 'header:x-user'])(
    '%s: reloads lose nothing, and kept-alive connections stay',
    async (sticky) => {
      const launcher = await start(sticky, '2')
      let working = true
      const load = Promise.all([
        runClient('think', launcher.port, 3_000, 40, 100),
        runClient('one', launcher.port, 1_500, 20),
        runClient('post', launcher.port, 1_000, 10),
        runClient('pipeline', launcher.port, 2_000, 10),
        runClient('websocket', launcher.port, 2_000, 10, 20),
      ]).finally(() => (working = false))
      let reloads = 0
      while (working) {
        expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 0, cut: 0 })
        reloads += 1
      }
      for (const { failures, hangs, errors } of await load)
        expect({ failures, hangs, errors }).toEqual({ failures: 0, hangs: 0, errors: {} })
      expect(reloads).toBeGreaterThan(1)
      expect(await launcher.stop()).toBe(0)
    },
    120_000,
  )

  test('a kept-alive connection goes where its client goes, through its worker and the next', async () => {
    const launcher = await start('header:x-user')
    const sockets = Array.from({ length: 8 }, () => connect(launcher.port, '127.0.0.1'))
    for (const socket of sockets) cleanups.push(() => socket.destroy())
    // Only the first request says who it is.
    const ask = async (socket: Socket, header = ''): Promise<{ slot: number; generation: number }> => {
      const data = once(socket, 'data')
      socket.write(`GET / HTTP/1.1\r\nHost: test\r\n${header}\r\n`)
      return JSON.parse(String((await data)[0]).split('\r\n\r\n')[1] as string)
    }
    const before = await Promise.all(sockets.map((socket, i) => ask(socket, `X-User: user-${i}\r\n`)))
    const result = (await launcher.ask('reload')) as { ok: boolean; moved: number }
    expect(result.ok).toBe(true)
    expect(result.moved).toBe(8)
    const after = await Promise.all(sockets.map((socket) => ask(socket)))
    expect(after).toMatchObject(before.map(({ slot }) => ({ slot, generation: 1 })))
  }, 60_000)

  test('a killed worker leaves its clients to another until it has a successor', async () => {
    const launcher = await start('header:x-user', '2')
    const home = await slotOf(launcher, { header: 'ann' })
    process.kill((await launcher.status()).slots[home]?.pid as number, 'SIGKILL')
    expect([0, 1]).toContain(await slotOf(launcher, { header: 'ann' }))
    await waitFor(async () => (await launcher.status()).slots[home]?.state === 'ready')
    await waitFor(async () => (await slotOf(launcher, { header: 'ann' })) === home)
  }, 60_000)

  test('hostile beginnings are answered as ever, and hurt nobody', async () => {
    const launcher = await start('header:x-user', '2')
    const send = (bytes: string | Buffer): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(launcher.port, '127.0.0.1')
        let text = ''
        socket.on('error', () => undefined)
        socket.on('data', (chunk) => (text += chunk))
        socket.on('close', () => resolve(text))
        socket.write(bytes)
      })
    expect(await send('nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
    expect(await send(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]))).toMatch(/^HTTP\/1.1 400 /)
    expect(await send(`GET /${'a'.repeat(70_000)} HTTP/1.1\r\n\r\n`)).toMatch(/^(HTTP\/1.1 (414|431) |$)/)
    expect(await send(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`)).toMatch(/^(HTTP\/1.1 431 |$)/)
    // A client that leaves in the middle, many times.
    await Promise.all(
      Array.from(
        { length: 100 },
        (_, i) =>
          new Promise((resolve) => {
            const socket = connect(launcher.port, '127.0.0.1', () => socket.write('GET / HT'.slice(0, i % 9)))
            socket.on('error', () => undefined).on('close', resolve)
            socket.setTimeout(1 + (i % 20), () => socket.destroy())
          }),
      ),
    )
    expect(await slotOf(launcher, { header: 'ann' })).toBeLessThan(2)
    expect((await launcher.status()).slots.map(({ restarts }) => restarts)).toEqual([0, 0])
    const { slots } = await launcher.status()
    expect(slots).toHaveLength(2)
  }, 60_000)

  test('a big body that came with the head is whole', async () => {
    const launcher = await start('header:x-user', '2')
    const data = 'y'.repeat(500_000)
    const response = await fetch(`${launcher.url}/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-user': 'ann' },
      body: JSON.stringify({ data }),
    })
    expect(((await response.json()) as { body: { data: string } }).body.data).toBe(data)
  })

  test('on a Node whose inside is unknown it is refused', async () => {
    const launcher = await startLauncher({
      args: ['--sticky', 'ip'],
      env: { FASTIFY_SCALE_PLAIN_CLUSTER: '1' },
      dontWait: true,
    })
    expect(await launcher.ended).toBe(1)
    expect(launcher.output.err).toMatch(/^fastify-scale start: .*option 'sticky' does not work on Node v[^\n]*\n$/)
  })
})

// A server of ours is what a worker's is.
test('bytes that were read ahead are no reason to take a connection for unused', async () => {
  const { trackConnections } = await import('../src/worker/connections.ts')
  const server = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const connections = trackConnections(server)
  server.prependOnceListener('connection', (socket: Socket & { _handle?: NativeHandle }) => {
    if (socket._handle) socket._handle.readAhead = 8
    socket.unshift('GET / HT')
  })
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  cleanups.push(() => socket.destroy())
  await waitFor(() => connections.size === 1)
  expect(connections.detachIdle()).toEqual([])
  await new Promise((resolve) => setImmediate(resolve))
  expect(connections.detachIdle()).toEqual([])
  const data = once(socket, 'data')
  socket.write('TP/1.1\r\nHost: test\r\n\r\n')
  expect(String((await data)[0])).toContain('200 OK')
})
