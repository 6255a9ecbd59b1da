import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Connections, trackConnections } from '../src/worker/connections.ts'
import { waitFor } from './helpers.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function serve(
  handler: RequestListener,
): Promise<{ server: Server; connections: Connections; open(): Promise<Socket>; accepted: Socket[] }> {
  const server = createServer(handler)
  const connections = trackConnections(server)
  const accepted: Socket[] = []
  server.on('connection', (socket) => accepted.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    server,
    connections,
    accepted,
    async open() {
      const { port } = server.address() as AddressInfo
      const accepted = once(server, 'connection')
      const socket = connect(port, '127.0.0.1')
      cleanups.push(() => socket.destroy())
      await Promise.all([once(socket, 'connect'), accepted])
      return socket
    },
  }
}

/** Writes, and waits for the server's answer. */
async function exchange(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, 'data')
  socket.write(text)
  return String((await answer)[0])
}

const GET = 'GET / HTTP/1.1\r\nHost: test\r\n\r\n'

describe('connections that leave a process alive', () => {
  test('a kept-alive connection between two requests does', async () => {
    const { connections, open, server } = await serve((_, response) => response.end('ok'))
    const socket = await open()
    await exchange(socket, GET)
    await waitFor(() => connections.idle() === 1)
    const [handle, ...rest] = connections.detachIdle()
    expect(rest).toEqual([])
    // The server counts it no more, and the client sees nothing of it.
    await waitFor(() => connections.size === 0)
    expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0)
    expect(socket.readyState).toBe('open')
    handle?.close()
  })

  test('one that was opened and not used does', async () => {
    const { connections, open } = await serve((_, response) => response.end('ok'))
    await open()
    const handles = connections.detachIdle()
    expect(handles).toHaveLength(1)
    for (const handle of handles) handle.close()
  })

  test('bytes that came after it was taken out are for the next process', async () => {
    let served = 0
    const { connections, open } = await serve((_, response) => {
      served += 1
      response.end('ok')
    })
    const socket = await open()
    const [handle] = connections.detachIdle()
    socket.write(GET)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(served).toBe(0)
    const other = await serve((_, response) => response.end('from the other'))
    const answer = once(socket, 'data')
    const listening = (other.server as unknown as { _handle: { onconnection(error: number, handle: unknown): void } })
      ._handle
    listening.onconnection(0, handle)
    expect(String((await answer)[0])).toContain('from the other')
  })
})

describe('connections that stay', () => {
  test('one whose request has begun to arrive', async () => {
    const { connections, open, accepted } = await serve((_, response) => response.end('ok'))
    const socket = await open()
    await exchange(socket, GET)
    socket.write('GET / HT')
    await waitFor(() => accepted[0]?.bytesRead === GET.length + 8)
    expect(connections.detachIdle()).toEqual([])
    expect(await exchange(socket, 'TP/1.1\r\nHost: test\r\n\r\n')).toContain('200 OK')
  })

  test('one whose very first request has begun to arrive', async () => {
    const { connections, open, accepted } = await serve((_, response) => response.end('ok'))
    const socket = await open()
    socket.write('GET /')
    await waitFor(() => accepted[0]?.bytesRead === 5)
    expect(connections.detachIdle()).toEqual([])
    expect(await exchange(socket, ' HTTP/1.1\r\nHost: test\r\n\r\n')).toContain('200 OK')
  })

  test('one whose answer is not written yet, or only in part', async () => {
    let finish = (): void => undefined
    const { connections, open } = await serve((_, response) => {
      response.write('begin')
      finish = () => response.end('end')
    })
    const socket = await open()
    await exchange(socket, GET)
    expect(connections.detachIdle()).toEqual([])
    finish()
    await waitFor(() => connections.idle() === 1)
    const handles = connections.detachIdle()
    expect(handles).toHaveLength(1)
    for (const handle of handles) handle.close()
  })

  test('one whose body is still coming, although it was answered', async () => {
    const { connections, open } = await serve((_, response) => response.end('early'))
    const socket = await open()
    await exchange(socket, 'POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345')
    expect(connections.detachIdle()).toEqual([])
  })

  test('one that was upgraded', async () => {
    const { connections, open, server } = await serve(() => undefined)
    server.on('upgrade', (_, socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
    const socket = await open()
    await exchange(socket, 'GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    expect(connections.upgraded()).toBe(1)
    expect(connections.detachIdle()).toEqual([])
  })

  test('one that was told it ends: at no moment until it has ended', async () => {
    let looks = 0
    let taken = 0
    const { connections, open } = await serve((_, response) => {
      connections.sayClose()
      const look = (): void => {
        looks += 1
        taken += connections.detachIdle().length
      }
      response.once('finish', () => {
        look()
        process.nextTick(look)
        queueMicrotask(look)
        setImmediate(look)
        setTimeout(look, 0)
      })
      response.end('x'.repeat(200_000))
    })
    const socket = await open()
    let text = ''
    socket.on('data', (chunk) => (text += chunk))
    socket.write(GET)
    await once(socket, 'end')
    await waitFor(() => looks === 5)
    expect(taken).toBe(0)
    expect(text).toMatch(/^connection: close\r$/im)
  })
})

test('responses in flight say close, those whose headers are out keep what they said', async () => {
  const answers: (() => void)[] = []
  const { connections, open } = await serve((request, response) => {
    if (request.url === '/begun') response.write('begun')
    answers.push(() => response.end('done'))
  })
  const [begun, waiting] = [await open(), await open()]
  const first = await exchange(begun, 'GET /begun HTTP/1.1\r\nHost: test\r\n\r\n')
  waiting.write(GET)
  await waitFor(() => answers.length === 2)
  connections.sayClose()
  const second = once(waiting, 'data')
  for (const answer of answers) answer()
  expect(first).toMatch(/^connection: keep-alive\r$/im)
  expect(String((await second)[0])).toMatch(/^connection: close\r$/im)
})
