import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DevServicesError } from './errors.ts'
import { Lane, type Direction, type Faults, type Verdict } from './fault-lane.ts'

/** Looks at what is about to be forwarded. Return other bytes to change it, `'hang'` or `'cut'` to end it there. */
export type Intercept = (event: {
  direction: Direction
  chunk: Buffer
  /** 1 for the first connection of the proxy, and so on. */
  connection: number
}) => Verdict

export interface FaultProxyOptions {
  /** Where to forward to: a URL, whose scheme may be any that has a port, or host and port. */
  target: string | { host: string; port: number }
  intercept?: Intercept
}

/** A TCP proxy between a client and a real server, to show to the client what a network can do. */
export interface FaultProxy {
  /** The target's URL with the proxy in place of host and port; `tcp://host:port` if the target was not a URL. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Connections that are open now. */
  readonly connections: number
  /** May be set and cleared at any time. */
  intercept: Intercept | undefined
  /** Forwards nothing any more in either direction; connections stay, and new ones are accepted and hang. */
  freeze(): void
  /** Forwards again, beginning with what was held back. */
  thaw(): void
  /** Refuses new connections (ECONNREFUSED); open ones stay. */
  refuse(): Promise<void>
  /** Accepts new connections again, on the same port. */
  accept(): Promise<void>
  /** Resets all open connections (RST: ECONNRESET on both sides). */
  cut(): void
  /** Holds each chunk back for so many ms, in each direction. 0 ends it. */
  latency(ms: number): void
  /** Lets so many bytes per second through, in each direction of each connection. 0 ends it. */
  throttle(bytesPerSecond: number): void
  /** Resets all connections and closes the port. May be called twice. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const DEFAULT_PORTS: Record<string, number> = {
  'redis:': 6379,
  'postgres:': 5432,
  'postgresql:': 5432,
  'http:': 80,
  'https:': 443,
}

/**
 * Starts a proxy on a free loopback port. It does not keep the process from exiting.
 * @throws SCALE_DEV_SERVICES_BAD_OPTION when the target has no host or port
 */
export async function faultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const target = parseTarget(options.target)
  const faults: Faults = { frozen: false, latency: 0, rate: 0 }
  const open = new Set<{ lanes: [Lane, Lane]; cut(): void }>()
  let count = 0

  const server = createServer({ allowHalfOpen: true }, (client) => {
    const number = ++count
    const upstream = connect({ host: target.host, port: target.port, allowHalfOpen: true })
    for (const socket of [client, upstream]) socket.setNoDelay(true).unref()
    const judge =
      (direction: Direction) =>
      (chunk: Buffer): Verdict => {
        const verdict = proxy.intercept?.({ direction, chunk, connection: number })
        // A connection hangs as a whole.
        if (verdict === 'hang') for (const lane of connection.lanes) lane.hang()
        return verdict
      }
    const cut = (): void => {
      open.delete(connection)
      for (const lane of connection.lanes) lane.close()
      for (const socket of [client, upstream]) reset(socket)
    }
    const connection = {
      cut,
      lanes: [
        new Lane(client, upstream, faults, judge('request'), cut),
        new Lane(upstream, client, faults, judge('response'), cut),
      ] satisfies [Lane, Lane] as [Lane, Lane],
    }
    open.add(connection)
    if (faults.frozen) for (const lane of connection.lanes) lane.freeze()
    const closed = (): void => {
      if (client.closed && upstream.closed) open.delete(connection)
    }
    client.on('close', closed)
    upstream.on('close', closed)
  })
  server.unref()

  const listen = async (port: number): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        server.listen(port, HOST)
        await once(server, 'listening')
        return
      } catch (error) {
        if (attempt === 50) throw error
        await sleep(100)
      }
    }
  }
  const refuse = async (): Promise<void> => {
    // The port is closed at once; the callback would wait for open connections.
    if (server.listening) server.close()
  }
  await listen(0)
  const { port } = server.address() as AddressInfo

  const proxy: FaultProxy = {
    url: target.urlOf(HOST, port),
    host: HOST,
    port,
    get connections() {
      return open.size
    },
    intercept: options.intercept,
    freeze() {
      faults.frozen = true
      for (const { lanes } of open) for (const lane of lanes) lane.freeze()
    },
    thaw() {
      faults.frozen = false
      for (const { lanes } of open) for (const lane of lanes) lane.thaw()
    },
    refuse,
    async accept() {
      if (!server.listening) await listen(port)
    },
    cut() {
      for (const connection of open) connection.cut()
    },
    latency(ms) {
      faults.latency = nonNegative('latency', ms)
    },
    throttle(bytesPerSecond) {
      faults.rate = nonNegative('throttle', bytesPerSecond)
    },
    async stop() {
      await refuse()
      proxy.cut()
    },
  }
  return proxy
}

function reset(socket: Socket): void {
  if (socket.destroyed) return
  if (socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

function nonNegative(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value
  throw new DevServicesError('SCALE_DEV_SERVICES_BAD_OPTION', `${name} must be a number of at least 0: ${value}`)
}

function parseTarget(target: FaultProxyOptions['target']): {
  host: string
  port: number
  urlOf(host: string, port: number): string
} {
  if (typeof target !== 'string') return { ...target, urlOf: (host, port) => `tcp://${host}:${port}` }
  const url = URL.canParse(target) ? new URL(target) : undefined
  const port = Number(url?.port) || DEFAULT_PORTS[url?.protocol ?? '']
  if (!url?.hostname || !port) {
    throw new DevServicesError(
      'SCALE_DEV_SERVICES_BAD_OPTION',
      `target must be a URL with a host and a port, such as redis://127.0.0.1:6379: ${target}`,
    )
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    urlOf(host, proxyPort) {
      const through = new URL(target)
      through.host = `${host}:${proxyPort}`
      const text = through.href
      // `http://host:port` gets a path that the target did not have.
      return url.pathname === '/' && !target.endsWith('/') ? text.replace(/\/$/, '') : text
    },
  }
}
