import { lookup } from 'node:dns/promises'
import net from 'node:net'
import { getSystemErrorMap } from 'node:util'
import { AddressError } from '../errors.ts'
import { removeStaleSocket } from '../stale-socket.ts'
import type { ListenAddress } from '../protocol.ts'

/** A native connection or listening handle of Node: what can be sent to another process. */
export interface NativeHandle {
  close(): void
  /** Where connections are sticky: what the client of this one goes by. */
  stickyKey?: number
  /** Bytes that the launcher read from it ahead of the worker. */
  readAhead?: number
}

interface ListenHandle extends NativeHandle {
  listen(backlog: number): number
  getsockname?(out: object): number
  onconnection?: (error: number, handle?: NativeHandle) => void
}

export interface ListenOptions {
  host: string
  port: number
  /** Unix socket to listen on instead. */
  path?: string
  /** Descriptors of listening sockets passed by systemd; instead of host and port. */
  fds?: readonly number[]
  /** Length of the kernel's queue of connections. */
  backlog: number
  /** Only holds the addresses, for workers that bind them too. */
  reusePort?: boolean
}

/** libuv's flag for SO_REUSEPORT (1.49, Node 22.12). */
const UV_TCP_REUSEPORT = 2

export interface Listener {
  readonly addresses: ListenAddress[]
  /** One for each address; what shared mode sends to workers. */
  readonly handles: readonly NativeHandle[]
  /** Starts to accept here, in the primary. */
  accept(onConnection: (handle: NativeHandle) => void): void
  close(): void
}

type CreateServerHandle = (
  address: string | null,
  port: number | null,
  addressType: 4 | 6 | -1 | null,
  fd?: number,
  flags?: number,
) => ListenHandle | number

const createServerHandle = (net as unknown as { _createServerHandle?: CreateServerHandle })._createServerHandle

/** Whether the launcher can accept for its workers on this Node. */
export function canAccept(): boolean {
  return typeof createServerHandle === 'function'
}

/**
 * Binds all addresses, so that a port that is taken is found before any process is forked. A unix socket that nobody
 * listens at is taken over. Throws SCALE_CLUSTER_ADDRESS.
 */
export async function openListener(options: ListenOptions): Promise<Listener> {
  const { backlog, path, fds } = options
  const handles: ListenHandle[] = []
  const addresses: ListenAddress[] = []
  try {
    if (fds?.length) for (const fd of fds) add(create(null, null, null, fd), `descriptor ${fd}`)
    else if (path !== undefined) add(await bindPath(path), path)
    else await addHost(options.host)
  } catch (error) {
    for (const handle of handles) handle.close()
    throw error
  }

  function add(handle: ListenHandle | number, what: string): void {
    if (typeof handle === 'number') throw addressError(handle, what, path !== undefined)
    handles.push(handle)
    const name: { address?: string; port?: number; family?: string } = {}
    if (handle.getsockname && handle.getsockname(name) === 0 && name.address !== undefined)
      addresses.push({ address: name.address, port: name.port ?? 0, family: name.family === 'IPv6' ? 'IPv6' : 'IPv4' })
    else addresses.push({ path: path ?? what })
  }

  async function addHost(host: string): Promise<void> {
    const found = await lookup(host, { all: true }).catch((error: NodeJS.ErrnoException) => {
      throw new AddressError(`cannot listen on '${host}': no such host (${error.code ?? error.message})`)
    })
    // A host that is named twice in /etc/hosts comes twice.
    const unique = new Map(found.map((one) => [one.address, one]))
    let { port } = options
    for (const { address, family } of unique.values()) {
      const what = `${family === 6 ? `[${address}]` : address}:${port}`
      const handle = create(address, port, family === 6 ? 6 : 4, -1, options.reusePort ? UV_TCP_REUSEPORT : 0)
      const probed = typeof handle === 'number' ? handle : probe(address, port, family === 6 ? 6 : 4)
      // 'localhost' is two addresses; a machine without IPv6 has only one of them.
      if (addresses.length > 0 && (probed || typeof handle === 'number')) {
        if (typeof handle !== 'number') handle.close()
        continue
      }
      if (probed) {
        if (typeof handle !== 'number') handle.close()
        throw addressError(probed, what)
      }
      add(handle, what)
      const first = addresses[0]
      if (port === 0 && first && 'port' in first) port = first.port
    }
  }

  return {
    addresses,
    handles,
    accept(onConnection) {
      for (const [index, handle] of handles.entries()) {
        // A connection that was reset before it was accepted comes as an error: there is nothing to serve.
        handle.onconnection = (error, connection) => {
          if (!error && connection) onConnection(connection)
        }
        const error = handle.listen(backlog)
        if (error) throw addressError(error, describe(addresses[index]))
      }
    },
    close() {
      for (const handle of handles) handle.close()
    },
  }
}

function create(
  address: string | null,
  port: number | null,
  type: 4 | 6 | -1 | null,
  fd = -1,
  flags = 0,
): ListenHandle | number {
  return (createServerHandle as CreateServerHandle)(address, port, type, fd, flags)
}

/** A launcher that was killed could not remove its socket, which would be in the way of all that come after. */
async function bindPath(path: string): Promise<ListenHandle | number> {
  const handle = create(path, -1, -1)
  const taken = typeof handle === 'number' && getSystemErrorMap().get(handle)?.[0] === 'EADDRINUSE'
  return taken && (await removeStaleSocket(path)) ? create(path, -1, -1) : handle
}

/** A socket of this process's own on an address that others have too. @throws SCALE_CLUSTER_ADDRESS */
export function bindReusePort(address: ListenAddress): NativeHandle {
  if ('path' in address) throw new AddressError(`cannot listen on ${address.path}: reuse-port needs a port`)
  const type = address.family === 'IPv6' ? 6 : 4
  const handle = create(address.address, address.port, type, -1, UV_TCP_REUSEPORT)
  if (typeof handle === 'number') throw addressError(handle, describe(address))
  return handle
}

/** Tries to listen and closes again: a bound handle tells that its port is taken only when it listens. Returns the errno. */
function probe(address: string, port: number, type: 4 | 6): number {
  if (port === 0) return 0
  const handle = create(address, port, type)
  if (typeof handle === 'number') return handle
  const error = handle.listen(1)
  handle.close()
  return error
}

function addressError(errno: number, what: string, unix = false): Error {
  const [code, text] = getSystemErrorMap().get(errno) ?? [String(errno), 'unknown error']
  const reason =
    code === 'EADDRINUSE'
      ? unix
        ? 'it is in use by another process, or no socket'
        : 'the port is taken by another process'
      : code === 'EACCES'
        ? 'ports below 1024 need root or CAP_NET_BIND_SERVICE; use a port from 1024 on, or a systemd socket'
        : code === 'EADDRNOTAVAIL'
          ? 'this machine does not have that address'
          : text
  return new AddressError(`cannot listen on ${what}: ${reason} (${code})`)
}

function describe(address: ListenAddress | undefined): string {
  if (!address) return 'the address'
  if ('path' in address) return address.path
  return `${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
}

/** Addresses as URLs, the way one would open them. */
export function urlsOf(addresses: readonly ListenAddress[], scheme = 'http'): string[] {
  return addresses.map((address) => ('path' in address ? address.path : `${scheme}://${describe(address)}`))
}
