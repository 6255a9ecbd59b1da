import type { Duplex } from 'node:stream'
import { limitChannel, refuseChannel } from './channels.ts'
import type { ResolvedLimits } from './limit-options.ts'
import { refuseOversized } from './oversize.ts'
import type { AdmittedRequest } from './transport.ts'
import type { Turns } from './turns.ts'

/** The part of Engine.IO's connection that is used here. */
export interface Connection {
  readonly id: string
  readonly readyState: string
  readonly request: AdmittedRequest
  readonly writeBuffer: readonly unknown[]
  readonly transport: {
    readonly socket: {
      readonly isPaused: boolean
      readonly readyState: number
      pause(): void
      resume(): void
      terminate(): void
      ping(): void
      once(event: 'pong', listener: () => void): void
      once(event: 'error', listener: (error: { code?: string }) => void): void
      readonly _socket?: Duplex
    }
  }
  on(event: 'packet' | 'packetCreate', listener: (packet: { type: string; data?: string | Buffer }) => void): void
  on(event: 'close', listener: () => void): void
  write(data: string): void
  close(discard?: boolean): void
}

export interface GuardOptions {
  limits: ResolvedLimits
  /** Whether packets are text as Socket.IO's own parser writes it. */
  text: boolean
  /** Counts a handshake that costs as much as so many. */
  charge: (address: string, handshakes: number) => void
  /** Spreads the reading of what comes faster than it is worked off. */
  turns: Turns
  now?: () => number
}

/** Debt at which a client that sends too much is cut, in seconds of its rate. */
const DEBT_SECONDS = 10
/** How long a client may leave unread what is above the limits for slow ones, in ms. */
const PATIENCE_MS = 1_000
/** Multiple of those limits at which it is cut at once. */
const BURST = 8
/** A read of so many bytes, a full TLS record, says that there is more: Node would go on up to 32 reads of 64 KB. */
const LARGE_READ = 16_384
/** How long a client whose message is too large has to see the close code, in ms, before the connection is reset. */
const LINGER_MS = 500
/** `readyState` of a websocket on which messages come. */
const OPEN = 1

/**
 * Counts what one connection sends and what waits for it.
 *
 * A client over its rate is not read from until it is within it again: nothing that it sent is lost, and what it still
 * sends waits in its own TCP buffers. One whose debt passes 10 s is cut, as is one that does not read what it is sent:
 * `bufferedAmount` does not show that, Engine.IO's own buffer does.
 */
export function guardConnection(
  connection: Connection,
  { limits, text, charge, turns, now = () => performance.now() }: GuardOptions,
): void {
  const ws = connection.transport.socket
  const { events, slowMessages, slowBytes, maxPayload, maxAuth } = limits
  const { address } = connection.request.origin
  /** When what was received so far will be paid for. */
  let paidAt = 0
  let waiting: NodeJS.Timeout | undefined
  let queued = 0
  /** Since when something waits to be sent. */
  let queuedAt = 0
  let cut = false

  function terminate(limit: 'flood' | 'slow'): void {
    if (cut) return
    cut = true
    report(limit)
    // The socket first: a close frame would wait behind what the client does not read.
    ws.terminate()
    connection.close(true)
  }

  /** Not read from until at most half a second is owed. */
  function readLater(): void {
    ws.pause()
    waiting = setTimeout(
      () => {
        waiting = undefined
        if (cut) return
        if (paidAt - now() > 1_000) readLater()
        else ws.resume()
      },
      paidAt - now() - 500,
    )
    waiting.unref()
  }

  function report(limit: 'events' | 'flood' | 'slow'): void {
    limitChannel.publish(() => ({ limit, id: connection.id, address }))
  }

  connection.on('packet', (packet) => {
    if (packet.type === 'pong') return
    const answer = text && typeof packet.data === 'string' ? refuseOversized(packet.data, maxAuth) : undefined
    if (answer !== undefined) {
      charge(address, Math.floor((packet.data as string).length / maxAuth))
      refuseChannel.publish(() => ({ code: 'AUTH_TOO_LARGE', address }))
      connection.write(answer)
      // Engine.IO looks at it after its listeners: nobody parses this one.
      packet.type = 'noop'
    }
    const at = now()
    // A second's worth may come at once.
    paidAt = Math.max(paidAt, at) + 1_000 / events
    const debt = paidAt - at
    if (debt > DEBT_SECONDS * 1_000) return terminate('flood')
    if (debt <= 1_000 || waiting) return
    report('events')
    readLater()
  })

  connection.on('packetCreate', ({ data }) => {
    const size = data?.length ?? 0
    const count = connection.writeBuffer.length
    if (count === 0) {
      queued = size
      return
    }
    queued += size
    if (count === 1) queuedAt = now()
    // Much that is sent in one turn finds everybody slow: who does not read for a second is.
    const times = Math.max(count / slowMessages, queued / slowBytes)
    if (times >= 1 && (times >= BURST || now() - queuedAt > PATIENCE_MS)) terminate('slow')
  })

  // After ws's own listener: what was read is worked off, and others have their turn. What a connection still sends that
  // is being closed costs nothing.
  ws._socket?.on('data', (chunk: Buffer) => {
    if (chunk.length < LARGE_READ || ws.isPaused || ws.readyState !== OPEN) return
    ws.pause()
    turns.later(() => {
      if (!waiting) ws.resume()
    })
  })

  ws.once('error', ({ code }) => {
    if (code !== 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return
    charge(address, Math.floor(maxPayload / maxAuth))
    // The rest is not read: a megabyte that is thrown away costs the garbage collector more than all else.
    setImmediate(() => ws._socket?.pause())
    setTimeout(() => ws.terminate(), LINGER_MS).unref()
  })
  connection.on('close', () => clearTimeout(waiting))
}

/** Counts handshakes by address: a window of one second, as exact as a limit against floods has to be. */
export function createHandshakeLimit(perSecond: number, now: () => number = () => performance.now()) {
  let counts = new Map<string, number>()
  let begun = now()
  /** True where one more, or one that costs as much as so many, is allowed now. */
  return function allow(address: string, cost = 1): boolean {
    const at = now()
    if (at - begun >= 1_000) {
      begun = at
      counts = new Map()
    }
    const count = (counts.get(address) ?? 0) + cost
    counts.set(address, count)
    return count <= perSecond
  }
}
