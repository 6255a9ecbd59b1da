import type { Duplex } from 'node:stream'
import { limitChannel } from './channels.ts'
import type { ResolvedLimits } from './options.ts'
import type { AdmittedRequest } from './transport.ts'

/** The part of Engine.IO's connection that is used here. */
export interface Connection {
  readonly id: string
  readonly readyState: string
  readonly request: AdmittedRequest
  readonly writeBuffer: readonly unknown[]
  readonly transport: { readonly socket: { pause(): void; resume(): void; terminate(): void; _socket?: Duplex } }
  on(event: 'packet' | 'packetCreate', listener: (packet: { type: string; data?: string | Buffer }) => void): void
  on(event: 'close', listener: () => void): void
  close(discard?: boolean): void
}

/** Debt at which a client that sends too much is cut, in seconds of its rate. */
const DEBT_SECONDS = 10

/**
 * Counts what one connection sends and what waits for it.
 *
 * A client over its rate is not read from until it is within it again: nothing that it sent is lost, and what it still
 * sends waits in its own TCP buffers. One whose debt passes 10 s is cut, as is one that does not read what it is sent:
 * `bufferedAmount` does not show that, Engine.IO's own buffer does.
 */
export function guardConnection(
  connection: Connection,
  limits: ResolvedLimits,
  now: () => number = () => performance.now(),
): void {
  const ws = connection.transport.socket
  const { events, slowMessages, slowBytes } = limits
  /** When what was received so far will be paid for. */
  let paidAt = 0
  let waiting: NodeJS.Timeout | undefined
  let queued = 0
  let cut = false

  function terminate(limit: 'flood' | 'slow' | 'auth'): void {
    if (cut) return
    cut = true
    report(limit)
    // Engine.IO's close() would wait for what the client does not read; destroying the socket ends both.
    connection.close(true)
    ws.terminate()
  }

  function report(limit: 'events' | 'flood' | 'slow' | 'auth'): void {
    limitChannel.publish(() => ({ limit, id: connection.id, address: connection.request.origin.address }))
  }

  connection.on('packet', (packet) => {
    if (packet.type === 'pong') return
    const at = now()
    // A second's worth may come at once.
    paidAt = Math.max(paidAt, at) + 1_000 / events
    const debt = paidAt - at
    if (debt > DEBT_SECONDS * 1_000) return terminate('flood')
    if (debt <= 1_000 || waiting) return
    report('events')
    ws.pause()
    waiting = setTimeout(() => {
      waiting = undefined
      if (!cut) ws.resume()
    }, debt - 500)
    waiting.unref()
  })

  connection.on('packetCreate', ({ data }) => {
    const size = data?.length ?? 0
    queued = connection.writeBuffer.length === 0 ? size : queued + size
    if (connection.writeBuffer.length >= slowMessages || queued > slowBytes) terminate('slow')
  })

  connection.on('close', () => clearTimeout(waiting))
}

/** Counts handshakes by address: a window of one second, as exact as a limit against floods has to be. */
export function createHandshakeLimit(perSecond: number, now: () => number = () => performance.now()) {
  let counts = new Map<string, number>()
  let begun = now()
  /** True where one more is allowed now. */
  return function allow(address: string): boolean {
    const at = now()
    if (at - begun >= 1_000) {
      begun = at
      counts = new Map()
    }
    const count = (counts.get(address) ?? 0) + 1
    counts.set(address, count)
    return count <= perSecond
  }
}
