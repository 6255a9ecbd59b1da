import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { RequestOrigin } from './address.ts'
import { refuseChannel } from './channels.ts'
import type { Turns } from './turns.ts'

/** Why an upgrade is refused. */
export interface Refusal {
  status: number
  code: string
  message: string
  headers?: Record<string, string>
}

export interface TransportOptions {
  server: Server
  /** The path that is ours, without a slash at its end. */
  path: string
  originOf: (request: IncomingMessage) => RequestOrigin
  /** Called for a valid handshake; returns why it is refused, or undefined where it goes on. */
  admit: (request: IncomingMessage, origin: RequestOrigin) => Refusal | undefined
  /** Takes the connection over: Engine.IO. */
  accept: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Spreads handshakes that come together. */
  turns: Turns
  log: { error(details: object, message: string): void }
}

export interface Transport {
  /** TCP connections taken over and not yet closed, also those that Engine.IO has given up. */
  readonly sockets: ReadonlySet<Duplex>
  /** Stops taking upgrades. */
  close(): void
}

/** What a request carries after admission. */
export interface AdmittedRequest extends IncomingMessage {
  /** Read by Engine.IO in place of parsing the URL again. */
  _query: Record<string, string>
  origin: RequestOrigin
}

/**
 * Takes the upgrades of one path before any other listener of the server sees them: @fastify/websocket would route them
 * through Fastify, whose answer would land in the middle of ours. Other upgrades go where they went before.
 *
 * A listener for `upgrade` makes Node hand over every request that names another protocol, and clients exist that offer
 * `Upgrade: h2c` with everything. Where nobody else listens those are answered as the HTTP/1.1 requests that they are
 * (RFC 9110, 7.8: a server may ignore Upgrade).
 */
export function takeUpgrades({ server, path, originOf, admit, accept, turns, log }: TransportOptions): Transport {
  const sockets = new Set<Duplex>()

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Without a listener a reset connection would end the process.
    socket.on('error', () => socket.destroy())
    turns.run(() => {
      // Its client may have gone while it waited.
      if (!socket.destroyed) attempt(request, socket, head)
    })
  }

  /** What is called is in part the app's, as a function for `trustProxy`: where it throws, one client is refused. */
  function attempt(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      handshake(request, socket, head)
    } catch (error) {
      log.error({ err: error }, 'a websocket handshake failed')
      // Once taken over, an answer could land in the middle of another.
      if (sockets.has(socket)) socket.destroy()
      else refuse(socket, { status: 500, code: 'HANDSHAKE_FAILED', message: 'The handshake failed' })
    }
  }

  function handshake(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const origin = originOf(request)
    const query = queryOf(request)
    const refusal = refusalOf(request, query) ?? admit(request, origin)
    if (refusal) {
      refuseChannel.publish(() => ({ code: refusal.code, address: origin.address }))
      return refuse(socket, refusal)
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    Object.assign(request, { _query: query, origin } satisfies Partial<AdmittedRequest>)
    accept(request, socket, head)
  }

  const release = claim(server, path, onUpgrade)
  return { sockets, close: release }
}

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/** What is claimed on a server: by every registration, and by other copies of this package. */
const CLAIMS = Symbol.for('fastify-scale.realtime.upgrades')

/** Sends the upgrades of one path to `handler`; returns what ends that. */
function claim(server: Server & { [CLAIMS]?: Map<string, Upgrade> }, path: string, handler: Upgrade): () => void {
  const claims = (server[CLAIMS] ??= intercept(server))
  claims.set(path, handler)
  return () => void claims.delete(path)
}

function intercept(server: Server): Map<string, Upgrade> {
  const claims = new Map<string, Upgrade>()
  const emit = server.emit.bind(server)
  // The only place that is before every listener, whenever that was added. OpenTelemetry instruments servers here too.
  server.emit = function scaleRealtimeEmit(event: string, ...args: never[]): boolean {
    if (event !== 'upgrade') return emit(event, ...args)
    const [request, socket, head] = args as unknown as Parameters<Upgrade>
    const handler = claims.get(pathOf(request))
    if (handler) handler(request, socket, head)
    else if (hasOthers(server)) return emit(event, ...args)
    else answerAsHttp(server, request, socket, head)
    return true
  } as Server['emit']
  // Without one listener Node does not emit at all.
  server.on('upgrade', () => undefined)
  declineOthers(server, (request) => claims.has(pathOf(request)))
  return claims
}

/**
 * Newer versions of Node ask first, and go on with the request as HTTP/1.1 where the answer is no. From Node 26 on the
 * socket of an upgrade with a body is not the connection, which could not be given back any more.
 */
function declineOthers(
  server: Server & { shouldUpgradeCallback?: (request: IncomingMessage) => boolean },
  isOurs: (request: IncomingMessage) => boolean,
): void {
  const ask = server.shouldUpgradeCallback
  if (typeof ask !== 'function') return
  server.shouldUpgradeCallback = (request) => isOurs(request) || (hasOthers(server) && ask.call(server, request))
}

/** Somebody else listens for upgrades. */
function hasOthers(server: Server): boolean {
  return server.listenerCount('upgrade') > 1
}

function pathOf({ url = '' }: IncomingMessage): string {
  const end = url.indexOf('?')
  return (end === -1 ? url : url.slice(0, end)).replace(/\/$/, '')
}

function queryOf({ url = '' }: IncomingMessage): Record<string, string> {
  const start = url.indexOf('?')
  return Object.fromEntries(new URLSearchParams(start === -1 ? '' : url.slice(start + 1)))
}

function refusalOf(request: IncomingMessage, query: Record<string, string>): Refusal | undefined {
  if (query['transport'] !== 'websocket' || request.headers.upgrade?.toLowerCase() !== 'websocket')
    return {
      status: 426,
      code: 'WEBSOCKET_ONLY',
      message: 'This path speaks websocket only',
      headers: { Upgrade: 'websocket' },
    }
  if (query['EIO'] !== '4')
    return { status: 400, code: 'PROTOCOL_VERSION', message: 'Only version 4 of the Engine.IO protocol is spoken' }
  if (query['sid'] !== undefined)
    return {
      status: 400,
      code: 'UNKNOWN_SID',
      message: 'There is no session to upgrade: connections begin as websocket',
    }
  return undefined
}

function refuse(socket: Duplex, { status, code, message, headers = {} }: Refusal): void {
  const body = JSON.stringify({ statusCode: status, code, error: STATUS_CODES[status], message })
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
  // A client that neither reads nor closes is not waited for.
  setTimeout(() => socket.destroy(), 2_000).unref()
}

/**
 * For versions of Node that do not ask: gives the connection back to the server, the request on it without its offer of
 * another protocol.
 */
function answerAsHttp(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`]
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string
    if (!/^(upgrade|http2-settings|connection)$/i.test(name)) lines.push(`${name}: ${request.rawHeaders[i + 1]}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('setSecureContext' in server ? 'secureConnection' : 'connection', socket)
}
