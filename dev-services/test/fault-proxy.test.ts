import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { beforeEach, afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { faultProxy, startRedis, waitFor, type FaultProxy } from '../src/index.ts'

interface Echo {
  host: string
  port: number
  sockets: Socket[]
}

let echo: Echo
let proxy: FaultProxy

// A server that sends back what it gets, to look at bytes and connections one by one.
beforeEach(async () => {
  const sockets: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  echo = { host: '127.0.0.1', port: (server.address() as AddressInfo).port, sockets }
  proxy = await faultProxy({ target: echo })
  return async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})

afterEach(() => proxy.stop())

interface Client {
  socket: Socket
  received: Buffer[]
  text: () => string
  closedWith: Promise<string>
}

async function dial(): Promise<Client> {
  const socket = connect(proxy.port, proxy.host)
  onTestFinished(() => void socket.destroy())
  const received: Buffer[] = []
  const closedWith = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('close', () => resolve('closed'))
  })
  socket.on('data', (chunk) => received.push(chunk))
  await Promise.race([once(socket, 'connect'), closedWith.then((why) => Promise.reject(new Error(why)))])
  return { socket, received, closedWith, text: () => Buffer.concat(received).toString() }
}

const nothingFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('faultProxy', () => {
  test('forwards large data unchanged in both directions, and the end of the stream', async () => {
    const { socket, received, closedWith } = await dial()
    const data = Buffer.alloc(8_000_000, 'abcdefghij')
    socket.end(data)
    expect(await closedWith).toBe('closed')
    expect(Buffer.concat(received).equals(data)).toBe(true)
    await waitFor(() => proxy.connections === 0)
  })

  test('puts itself in place of host and port of a URL', async () => {
    const server = await startRedis({ password: 'a b' })
    onTestFinished(() => server.stop())
    const redisProxy = await faultProxy({ target: server.url })
    onTestFinished(() => redisProxy.stop())
    expect(redisProxy.url).toBe(server.url.replace(String(server.port), String(redisProxy.port)))
    const client = new Redis(redisProxy.url)
    onTestFinished(() => client.disconnect())
    expect(await client.ping()).toBe('PONG')
    const http = await faultProxy({ target: 'http://localhost:1' })
    onTestFinished(() => http.stop())
    expect(http.url).toBe(`http://127.0.0.1:${http.port}`)
    await expect(faultProxy({ target: 'nonsense' })).rejects.toMatchObject({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' })
  })

  test('freeze holds both directions back, hides the death of the other side, and thaw lets everything go on', async () => {
    const one = await dial()
    one.socket.write('1')
    await waitFor(() => one.text() === '1')
    proxy.freeze()
    one.socket.write('2')
    echo.sockets[0]?.write('3')
    const two = await dial()
    two.socket.write('4')
    await nothingFor(200)
    expect(one.text()).toBe('1')
    expect(two.text()).toBe('')
    expect(proxy.connections).toBe(2)
    proxy.thaw()
    await waitFor(() => one.text() === '132' && two.text() === '4')

    proxy.freeze()
    echo.sockets[0]?.resetAndDestroy()
    expect(await Promise.race([one.closedWith, nothingFor(200)])).toBeUndefined()
    proxy.thaw()
    expect(await one.closedWith).toBe('ECONNRESET')
  })

  test('refuse turns new connections away and keeps open ones; accept takes the same port again', async () => {
    const one = await dial()
    await proxy.refuse()
    await expect(dial()).rejects.toThrow('ECONNREFUSED')
    one.socket.write('still')
    await waitFor(() => one.text() === 'still')
    await proxy.accept()
    await proxy.accept()
    const two = await dial()
    two.socket.write('back')
    await waitFor(() => two.text() === 'back')
  })

  test('cut resets both sides of every connection', async () => {
    const clients = [await dial(), await dial()]
    await waitFor(() => echo.sockets.length === 2)
    const upstream = echo.sockets.map(
      (socket) => new Promise((resolve) => socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))),
    )
    proxy.cut()
    expect(await Promise.all(clients.map(({ closedWith }) => closedWith))).toEqual(['ECONNRESET', 'ECONNRESET'])
    expect(await Promise.all(upstream)).toEqual(['ECONNRESET', 'ECONNRESET'])
    expect(proxy.connections).toBe(0)
  })

  test('a target that is not there resets the client', async () => {
    const nowhere = await faultProxy({ target: { host: '127.0.0.1', port: 1 } })
    onTestFinished(() => nowhere.stop())
    const socket = connect(nowhere.port, nowhere.host)
    const [error] = await once(socket, 'error')
    expect(error.code).toBe('ECONNRESET')
  })

  test('latency delays each direction and keeps the order', async () => {
    const { socket, text } = await dial()
    proxy.latency(100)
    const since = performance.now()
    for (const word of ['a', 'b', 'c', 'd']) socket.write(word)
    await waitFor(() => text() === 'abcd')
    expect(performance.now() - since).toBeGreaterThanOrEqual(195)
    proxy.latency(0)
    const again = performance.now()
    socket.write('e')
    await waitFor(() => text() === 'abcde', { interval: 1 })
    expect(performance.now() - again).toBeLessThan(100)
  })

  test('throttle limits the rate, and pushes back on the sender', async () => {
    const { socket, received } = await dial()
    proxy.throttle(100_000)
    const since = performance.now()
    socket.write(Buffer.alloc(50_000))
    await waitFor(() => Buffer.concat(received).length === 50_000)
    expect(performance.now() - since).toBeGreaterThan(400)

    // More than the kernel's buffers on the way take.
    for (let i = 0; i < 64; i++) socket.write(Buffer.alloc(1_000_000))
    await nothingFor(300)
    expect(socket.writableLength).toBeGreaterThan(0)
  })

  test('intercept can change bytes, hang a connection at a pattern, and cut one after so many bytes', async () => {
    const seen: string[] = []
    let total = 0
    proxy.intercept = ({ direction, chunk, connection }) => {
      seen.push(`${connection} ${direction}`)
      if (connection === 1 && direction === 'request') return Buffer.from(chunk.toString().toUpperCase())
      if (connection === 2 && chunk.includes('stop')) return 'hang'
      if (connection === 3 && direction === 'response' && (total += chunk.length) > 10) return 'cut'
      return undefined
    }
    const one = await dial()
    one.socket.write('abc')
    await waitFor(() => one.text() === 'ABC')
    expect(seen).toEqual(['1 request', '1 response'])

    const two = await dial()
    two.socket.write('go')
    await waitFor(() => two.text() === 'go')
    two.socket.write('stop')
    await waitFor(() => seen.filter((line) => line === '2 request').length === 2)
    two.socket.write('more')
    await nothingFor(100)
    expect(two.text()).toBe('go')
    expect(echo.sockets[1]?.bytesRead).toBe(2)

    const three = await dial()
    three.socket.write('12345')
    await waitFor(() => three.text() === '12345')
    three.socket.write('67890-')
    expect(await three.closedWith).toBe('ECONNRESET')
    proxy.intercept = undefined
    one.socket.write('abc')
    await waitFor(() => one.text() === 'ABCabc')
  })

  test('wrong values are refused', () => {
    expect(() => proxy.latency(-1)).toThrow(expect.objectContaining({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' }))
    expect(() => proxy.throttle(Number.NaN)).toThrow(expect.objectContaining({ code: 'SCALE_DEV_SERVICES_BAD_OPTION' }))
  })

  test('stop resets what is open and closes the port, twice', async () => {
    const one = await dial()
    await proxy.stop()
    await proxy.stop()
    expect(await one.closedWith).toBe('ECONNRESET')
    await expect(dial()).rejects.toThrow('ECONNREFUSED')
  })
})
