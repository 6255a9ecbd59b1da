import type { Duplex } from 'node:stream'

interface Emitter {
  listenerCount(event: string): number
}

/** The part of a Socket.IO client, and of what is below it, that is used here. */
export interface Client {
  readonly conn: Emitter & {
    readonly readyState: string
    readonly writeBuffer: readonly unknown[]
    readonly server: Emitter
    readonly transport: {
      readonly name: string
      readonly socket: { readonly _socket: Duplex }
      onError(reason: string, description?: string): void
    }
    on(event: 'newListener', listener: (event: string | symbol) => void): void
  }
  writeToEngine(packets: unknown, options: WriteOptions): void
}

interface WriteOptions {
  volatile?: boolean | undefined
  /** The whole websocket frame of a broadcast of text, made once for all its sockets; see `joinFrames`. */
  wsPreEncodedFrame?: readonly Buffer[]
}

/** Bytes that one turn of the event loop may write past Engine.IO's buffer. */
const TURN_BYTES = 64 * 1_024

/**
 * Writes the frames of broadcasts straight to the client's stream, where nothing that was sent before waits in Engine.IO:
 * the packet, the flush and the drain of each would cost half as much as the write. What one turn of the event loop sends
 * goes out in one write. Everything else takes Socket.IO's way: direct messages, binary ones, those to a client that reads
 * slowly, and all of a client whose packets somebody listens to.
 */
export function writeDirectly(client: Client): void {
  // A client is in several namespaces.
  if (Object.hasOwn(client, 'writeToEngine') || !isKnown(client)) return
  const { conn, writeToEngine } = client
  const { transport, server } = conn
  const stream = transport.socket._socket
  // One is that of `guardConnection`, which counts what waits: nothing does, here.
  let watched = conn.listenerCount('packetCreate') > 1 || conn.listenerCount('flush') + conn.listenerCount('drain') > 0
  conn.on('newListener', (event) => {
    if (event === 'packetCreate' || event === 'flush' || event === 'drain') watched = true
  })

  function onWritten(error?: Error | null): void {
    if (error) transport.onError('write error', error.stack)
  }

  client.writeToEngine = function writeBroadcast(packets, options) {
    const { volatile, wsPreEncodedFrame: frame } = options
    const waiting = stream.writableLength
    if (
      frame?.length === 1 &&
      !volatile &&
      !watched &&
      // Nothing waits, or only what this turn has written.
      (waiting === 0 || (stream.writableCorked > 0 && waiting < TURN_BYTES)) &&
      conn.writeBuffer.length === 0 &&
      conn.readyState === 'open' &&
      conn.transport === transport &&
      server.listenerCount('flush') + server.listenerCount('drain') === 0
    ) {
      if (stream.writableCorked === 0) hold(stream)
      stream.write(frame[0], onWritten)
      return
    }
    // What was written here makes it as little writable as what Engine.IO writes.
    if (volatile && waiting > 0) return
    writeToEngine.call(client, packets, options)
  }
}

/** Streams that send when this turn of the event loop is over. */
let held: Duplex[] = []

function hold(stream: Duplex): void {
  stream.cork()
  if (held.push(stream) === 1) process.nextTick(release)
}

function release(): void {
  const streams = held
  held = []
  for (const stream of streams) stream.uncork()
}

/** Whether what is used here is there: most of it is no public API. */
function isKnown({ conn, writeToEngine }: Partial<Client>): boolean {
  const { transport, server } = conn ?? {}
  const { writableLength, writableCorked, cork, uncork } = transport?.socket?._socket ?? {}
  return (
    transport?.name === 'websocket' &&
    Array.isArray(conn?.writeBuffer) &&
    [writableLength, writableCorked].every((value) => typeof value === 'number') &&
    [writeToEngine, transport.onError, conn?.on, server?.listenerCount, cork, uncork].every(
      (value) => typeof value === 'function',
    )
  )
}
