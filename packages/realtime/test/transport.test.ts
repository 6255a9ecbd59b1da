import { createServer, request } from 'node:http'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { waitFor } from '@fastify-scale/dev-services'
import { io as plainClient } from 'socket.io-client'
import { WebSocketServer } from 'ws'
import { describe, expect, it } from 'vitest'
import { takeUpgrades } from '../src/transport.ts'
import { connect, onEnd, startApp } from './support.ts'

const none = { adapter: 'none' as const }

/** Sends bytes and gives everything that comes back until the connection ends, or `until` is seen. */
function exchange(port: number, text: string, until?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      if (until && received.includes(until)) socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(received))
    onEnd(() => socket.destroy())
  })
}

const upgrade = (path: string, headers = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`

describe('transport', () => {
  it('answers long polling with 426 and a reason that its clients can read', async () => {
    const { url } = await startApp(none)
    const polling = plainClient(url, { transports: ['polling'], reconnection: false })
    onEnd(() => polling.disconnect())
    const seen = await new Promise<{ status?: number; text?: string }>((resolve) =>
      polling.on('connect_error', (error: Error & { context?: { status: number; responseText: string } }) =>
        // The client clears it when its listeners have run.
        resolve({ status: error.context?.status, text: error.context?.responseText }),
      ),
    )
    expect(seen.status).toBe(426)
    expect(JSON.parse(seen.text ?? '')).toMatchObject({
      code: 'SCALE_REALTIME_WEBSOCKET_ONLY',
      statusCode: 426,
    })
    const reply = await fetch(`${url}/socket.io/?EIO=4&transport=polling`)
    expect(reply.headers.get('upgrade')).toBe('websocket')
  })

  it('refuses forged handshakes with an answer, and goes on', async () => {
    const { url, port } = await startApp(none)
    const cases: [request: string, status: number][] = [
      [upgrade('/socket.io/?EIO=4&transport=polling'), 426],
      [upgrade('/socket.io/?EIO=3&transport=websocket'), 400],
      [upgrade('/socket.io/'), 426],
      [upgrade('/socket.io/?EIO=4&transport=websocket&sid=__proto__'), 400],
      [upgrade('/socket.io/?EIO=4&transport=websocket&sid=constructor'), 400],
      [upgrade('/socket.io/?EIO=4&transport=webtransport'), 426],
      [upgrade('/socket.io/?EIO=4&transport=websocket').replace('websocket\r\nSec', 'h2c\r\nSec'), 426],
      [upgrade('/socket.io/?EIO=4&transport=websocket').replace(/Sec-WebSocket-Key.*\r\n/, ''), 400],
    ]
    for (const [text, status] of cases) expect(await exchange(port, text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    await connect(url)
  })

  it('leaves other upgrades to their listeners, and answers those of nobody as plain HTTP', async () => {
    const before = await startApp(none, { before: (app) => app.get('/hello', async () => 'hi') })
    const h2c =
      'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n'
    expect(await exchange(before.port, `${h2c}\r\n`, 'hi')).toMatch(/^HTTP\/1.1 200 /)

    const body = await new Promise<string>((resolve, reject) => {
      const sent = request(`${before.url}/nowhere`, {
        method: 'POST',
        headers: { connection: 'Upgrade', upgrade: 'h2c', 'content-type': 'application/json' },
      })
      sent.on('response', (reply) => {
        reply.resume()
        resolve(String(reply.statusCode))
      })
      sent.on('error', reject)
      sent.end(JSON.stringify({ text: 'x'.repeat(100_000) }))
    })
    expect(body).toBe('404')

    const sockets = new WebSocketServer({ noServer: true })
    onEnd(() => sockets.close())
    const { port, url } = await startApp(none, {
      after: (app) =>
        app.server.on('upgrade', (req, socket, head) =>
          sockets.handleUpgrade(req, socket, head, (ws) => {
            ws.send('other')
            ws.close()
          }),
        ),
    })
    expect(await exchange(port, upgrade('/else'), 'other')).toContain('101 Switching Protocols')
    await connect(url)
  })

  it('drops a handshake whose client has gone while it waited for its turn', async () => {
    const server = createServer()
    const tasks: (() => void)[] = []
    const origins: string[] = []
    const transport = takeUpgrades({
      server,
      path: '/socket.io',
      originOf: ({ socket }) => {
        origins.push(String(socket.remoteAddress))
        return { address: '', host: '' }
      },
      admit: () => undefined,
      accept: () => undefined,
      turns: { run: (task: () => void) => tasks.push(task) } as never,
      log: { error: () => undefined },
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onEnd(() => {
      for (const socket of transport.sockets) socket.destroy()
      server.close()
    })
    const clients = [1, 2].map(() => {
      const client = connectTcp((server.address() as AddressInfo).port, '127.0.0.1')
      client.write(upgrade('/socket.io/?EIO=4&transport=websocket'))
      onEnd(() => client.destroy())
      return client
    })
    await waitFor(() => tasks.length === 2)
    clients[0]?.resetAndDestroy()
    await waitFor(
      async () => (await new Promise((resolve) => server.getConnections((_error, have) => resolve(have)))) === 1,
    )
    for (const task of tasks) task()
    expect(origins).toEqual(['127.0.0.1'])
    expect(transport.sockets.size).toBe(1)
  })

  it('answers 500 where an option of the app throws, logs it, and goes on', async () => {
    const lines: string[] = []
    let broken = true
    const { url, port } = await startApp(none, {
      server: {
        logger: { level: 'error', stream: { write: (line: string) => void lines.push(line) } },
        trustProxy: () => {
          if (broken) throw new Error('list of proxies is not there')
          return false
        },
      },
    })
    const headers = 'X-Forwarded-For: 203.0.113.9\r\n'
    const answer = await exchange(port, upgrade('/socket.io/?EIO=4&transport=websocket', headers))
    expect(answer).toMatch(/^HTTP\/1.1 500 /)
    expect(answer).not.toContain('proxies')
    expect(lines.join('')).toContain('list of proxies is not there')
    broken = false
    await connect(url)
  })
})
