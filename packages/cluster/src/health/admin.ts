import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AdminAddressError } from '../errors.ts'
import { jsonPage, type Page } from './page.ts'

export interface AdminAddress {
  host: string
  /** 0: a free one. */
  port: number
  /** Where it can't be listened on, do without. */
  optional?: boolean
}

export interface AdminServer {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:9100`. */
  readonly url: string
  /** Stops listening and ends what is open. */
  close(): Promise<void>
}

export interface AdminOptions {
  address: AdminAddress
  /** By path: `/livez`. */
  pages: Record<string, () => Page | Promise<Page>>
}

/** Loopback unless a host is named: `9100`, `':9100'`, `'0.0.0.0:9100'`, `'[::]:9100'`. @throws SCALE_CLUSTER_ADMIN_ADDRESS */
export function parseAdminAddress(value: string | number): AdminAddress {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):)?(\d{1,5})$/.exec(String(value).trim())
  const port = Number(match?.[3])
  if (!match || port > 65_535)
    throw new AdminAddressError(
      `the admin address must be like 9100 or 0.0.0.0:9100, or off, but is '${String(value)}'`,
    )
  return { host: match[1] || match[2] || '127.0.0.1', port }
}

/** Serves the admin pages: GET and HEAD only, small requests only, few connections, nothing that can be slow for ever. */
export async function startAdminServer({ address, pages }: AdminOptions): Promise<AdminServer> {
  const server = createServer(
    {
      maxHeaderSize: 8_192,
      headersTimeout: 5_000,
      requestTimeout: 5_000,
      keepAliveTimeout: 10_000,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      // A body is nothing that we read: the connection ends with the answer.
      if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined)
        response.setHeader('connection', 'close')
      const path = (request.url ?? '').split('?')[0] as string
      const page = Object.hasOwn(pages, path) ? pages[path] : undefined
      if (!page) return send(response, jsonPage(404, { error: 'not found', pages: Object.keys(pages) }), request.method)
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD')
        return send(response, jsonPage(405, { error: 'method not allowed' }), request.method)
      }
      void Promise.resolve()
        .then(page)
        .catch((error: Error) => jsonPage(500, { error: error.message }))
        .then((answer) => send(response, answer, request.method))
    },
  )
  server.maxConnections = 100
  // One who does not read what was asked for keeps a place no longer than one who asks for nothing more.
  server.timeout = 7_000
  server.on('upgrade', (_, socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new AdminAddressError(`can't listen on the admin address ${address.host}:${address.port}: ${error.message}`),
      ),
    )
    server.listen(address.port, address.host, () => resolve())
  })
  server.on('error', () => undefined)
  const { port, address: host } = server.address() as AddressInfo
  return {
    host,
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function send(response: ServerResponse, page: Page, method: string | undefined): void {
  response.on('error', () => undefined)
  response.writeHead(page.status, {
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(method === 'HEAD' ? undefined : page.body)
}
