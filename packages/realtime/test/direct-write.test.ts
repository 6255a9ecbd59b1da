import { EventEmitter } from 'node:events'
import { Writable } from 'node:stream'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it } from 'vitest'
import type { Server, Socket } from 'socket.io'
import { type Client, writeDirectly } from '../src/direct-write.ts'
import { collect, connect, once, startApp } from './support.ts'

interface Engine {
  server: EventEmitter
  transport: { send(packets: unknown[]): void; socket: { _socket: Writable } }
}

/** A server and one client of it; `sends` counts what goes through Engine.IO. */
async function start(namespace = '') {
  const { app, url } = await startApp({ adapter: 'none' })
  const io = (app.io as never as Server).of(namespace || '/')
  const connected = new Promise<Socket>((resolve) => io.once('connection', resolve))
  const client = await connect(url + namespace)
  const socket = await connected
  const conn = socket.conn as never as EventEmitter & Engine
  const { transport } = conn
  const sends: unknown[] = []
  const { send } = transport
  transport.send = function counted(packets) {
    sends.push(...packets)
    send.call(transport, packets)
  }
  return { io, client, socket, conn, stream: transport.socket._socket, sends, got: collect<number>(client, 'n') }
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

describe('a broadcast', () => {
  it.each(['', '/shop'])('is written past Engine.IO, all of one turn at once, in namespace "%s"', async (namespace) => {
    const { io, stream, sends, got } = await start(namespace)
    const writes: number[] = []
    const { _writev: writev } = stream
    stream._writev = function counted(chunks, done) {
      writes.push(chunks.length)
      writev?.call(stream, chunks, done)
    }
    for (const n of numbers(10)) io.emit('n', n)
    await waitFor(() => got.length === 10)
    expect(got).toEqual(numbers(10))
    expect(sends).toEqual([])
    expect(writes).toEqual([10])
  })

  it('keeps its place among direct and binary messages, in one turn and over several', async () => {
    const { io, client, socket, sends, got } = await start()
    const bytes = collect<Buffer>(client, 'bytes')
    let state = 7
    const random = (below: number): number => (state = (state * 48_271) % 2_147_483_647) % below
    const order: string[] = []
    for (const event of ['n', 'bytes'])
      (client as never as Socket).on(event, (value: number | Buffer) =>
        order.push(String(typeof value === 'number' ? value : value.readInt32BE())),
      )
    const expected: string[] = []
    for (let n = 0; n < 2_000; n++) {
      expected.push(String(n))
      const kind = random(8)
      const buffer = Buffer.alloc(4)
      buffer.writeInt32BE(n)
      if (kind === 0) socket.emit('n', n)
      else if (kind === 1) io.emit('bytes', buffer)
      else io.emit('n', n)
      if (random(10) === 0) await new Promise(random(2) === 0 ? setImmediate : process.nextTick)
    }
    await waitFor(() => got.length + bytes.length === 2_000)
    expect(order).toEqual(expected)
    expect(sends.length).toBeGreaterThan(100)
    expect(sends.length).toBeLessThan(1_900)
  })

  it('waits in Engine.IO for a client that does not read, and comes in order when it does', async () => {
    const { io, client, conn, stream, sends, got } = await start()
    const { transport } = (
      client as never as { io: { engine: { transport: { ws: { pause(): void; resume(): void } } } } }
    ).io.engine
    transport.ws.pause()
    const text = 'x'.repeat(50_000)
    const waiting = (): number => (conn as never as { writeBuffer: unknown[] }).writeBuffer.length
    let sent = 0
    await waitFor(() => {
      // It still does a moment later: the kernel takes no more.
      if (waiting() > 0) return true
      for (let n = 0; n < 20; n++) io.emit('n', sent++, text)
      return false
    })
    // Nothing more goes past Engine.IO now.
    const [stuck, before] = [stream.writableLength, waiting()]
    await onceTurn()
    for (let n = 0; n < 10; n++) io.emit('n', sent++, text)
    await onceTurn()
    expect([stream.writableLength, waiting()]).toEqual([stuck, before + 10])
    expect(sends.length).toBeGreaterThan(0)
    transport.ws.resume()
    await waitFor(() => got.length === sent)
    expect(got).toEqual(numbers(sent))
  })

  it.each(['packetCreate', 'flush', 'drain'])("is heard of by a connection's listener for '%s'", async (event) => {
    const { io, conn, got } = await start()
    io.emit('n', 0)
    let heard = 0
    conn.on(event, () => heard++)
    io.emit('n', 1)
    await waitFor(() => got.length === 2)
    expect([heard, got]).toEqual([1, [0, 1]])
  })

  it.each(['flush', 'drain'])("is heard of by the engine's listener for '%s'", async (event) => {
    const { io, conn, got } = await start()
    const engine = conn.server
    let heard = 0
    engine.on(event, () => heard++)
    io.emit('n', 0)
    await waitFor(() => got.length === 1)
    expect(heard).toBe(1)
  })

  it('makes a volatile message of the same turn wait for nobody: it is dropped, as by Socket.IO', async () => {
    const { io, socket, got } = await start()
    io.emit('n', 0)
    socket.volatile.emit('n', -1)
    io.volatile.emit('n', -2)
    await onceTurn()
    io.volatile.emit('n', 1)
    await onceTurn()
    socket.volatile.emit('n', 2)
    await waitFor(() => got.length === 3)
    expect(got).toEqual([0, 1, 2])
  })

  it('reaches a client before the close of the same turn', async () => {
    const { io, client, socket, got } = await start()
    const gone = once(client, 'disconnect')
    io.emit('n', 0)
    socket.disconnect(true)
    await gone
    expect(got).toEqual([0])
  })
})

const onceTurn = (): Promise<unknown> => new Promise(setImmediate)

describe('a broadcast that wants acknowledgement', () => {
  it('is written directly too, and shown to listeners of what goes out', async () => {
    const { io, client, socket, sends } = await start()
    const seen: unknown[] = []
    socket.onAnyOutgoing((event) => seen.push(event))
    ;(client as never as Socket).on('ask', (reply: (text: string) => void) => reply('here'))
    expect(await io.timeout(5_000).emitWithAck('ask')).toEqual(['here'])
    expect(seen).toEqual(['ask'])
    expect(sends).toEqual([])
  })
})

/** A client as Socket.IO makes it, as far as is looked at; `ordinary` gets what is not written directly. */
function makeClient() {
  const written: string[] = []
  const ordinary: unknown[] = []
  const errors: string[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString())
      done(chunk.toString() === 'broken' ? new Error('gone') : null)
    },
  })
  stream.on('error', () => undefined)
  const transport = { name: 'websocket', socket: { _socket: stream }, onError: (reason: string) => errors.push(reason) }
  const conn = Object.assign(new EventEmitter(), {
    readyState: 'open',
    writeBuffer: [] as unknown[],
    server: new EventEmitter(),
    transport,
  })
  const ofAll = { writeToEngine: (packets: unknown) => void ordinary.push(packets) }
  const client = Object.assign(Object.create(ofAll) as typeof ofAll, { conn })
  return { client: client as typeof client & Client, conn, transport, stream, written, ordinary, errors }
}

type Made = ReturnType<typeof makeClient>
const options = (text = 'frame') => ({ wsPreEncodedFrame: [Buffer.from(text)] })

describe('the direct write', () => {
  it('is used where everything is as it should be, and tells of errors', async () => {
    const { client, written, ordinary, errors } = makeClient()
    writeDirectly(client)
    writeDirectly(client)
    client.writeToEngine('one', options())
    await onceTurn()
    expect([written, ordinary, errors]).toEqual([['frame'], [], []])
    client.writeToEngine('two', options('broken'))
    await onceTurn()
    expect(errors).toEqual(['write error'])
  })

  it.each<[string, (made: Made) => unknown]>([
    ['packets wait', ({ conn }) => conn.writeBuffer.push({})],
    ['the connection is closing', ({ conn }) => (conn.readyState = 'closing')],
    ['the transport was replaced', ({ conn, transport }) => (conn.transport = { ...transport })],
    ['somebody listens to packets', ({ conn }) => conn.on('packetCreate', () => undefined)],
    ['somebody listens to the engine', ({ conn }) => conn.server.on('drain', () => undefined)],
    [
      'the stream has not taken what was written before',
      ({ stream }) => {
        stream._write = () => undefined
        stream.write('stuck')
      },
    ],
    ['the turn has written enough', ({ client }) => client.writeToEngine('much', options('x'.repeat(64 * 1_024)))],
  ])('is not used when %s', (_, change) => {
    const made = makeClient()
    writeDirectly(made.client)
    change(made)
    made.client.writeToEngine('one', options())
    expect(made.ordinary).toEqual(['one'])
  })

  it.each<[string, object]>([
    ['a message to one', {}],
    ['a frame in parts', { wsPreEncodedFrame: [Buffer.from('a'), Buffer.from('b')] }],
    ['a volatile message', { ...options(), volatile: true }],
  ])('is not used for %s', (_, how) => {
    const { client, ordinary } = makeClient()
    writeDirectly(client)
    client.writeToEngine('one', how)
    expect(ordinary).toEqual(['one'])
  })

  it.each<[string, (made: Made) => unknown]>([
    ['a writeToEngine of somebody else', ({ client }) => (client.writeToEngine = () => undefined)],
    ['another transport', ({ transport }) => (transport.name = 'webtransport')],
    ['a transport without onError', ({ transport }) => delete (transport as Partial<typeof transport>).onError],
    ['a websocket without its stream', ({ transport }) => (transport.socket = {} as never)],
    ['a stream that can not be corked', ({ stream }) => ((stream as { cork?: unknown }).cork = undefined)],
    ['a stream of unknown state', ({ transport }) => (transport.socket._socket = { cork() {}, uncork() {} } as never)],
    ['no buffer', ({ conn }) => ((conn as { writeBuffer?: unknown }).writeBuffer = undefined)],
    ['no engine', ({ conn }) => ((conn as { server?: unknown }).server = undefined)],
    ['no connection', ({ client }) => ((client as { conn?: unknown }).conn = undefined)],
    ['no transport', ({ conn }) => ((conn as { transport?: unknown }).transport = undefined)],
  ])('leaves a client with %s as it is', (_, change) => {
    const made = makeClient()
    change(made)
    const { writeToEngine } = made.client
    writeDirectly(made.client)
    expect(made.client.writeToEngine).toBe(writeToEngine)
  })
})
