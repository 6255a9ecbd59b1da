import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Connections, trackConnections } from '../src/worker/connections.ts'
import { waitFor } from './helpers.ts'
import { type Launcher, runClient, startLauncher } from './launcher.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

/** A server whose answers the test gives, by path. */
async function serve(): Promise<{
  connections: Connections
  open(): Promise<Socket & { text(): string }>
  /** Paths whose handler ran, in order. */
  handled: string[]
  responses: Map<string, ServerResponse>
  answer(path: string): void
}> {
  const handled: string[] = []
  const responses = new Map<string, ServerResponse>()
  const handler: RequestListener = (request: IncomingMessage, response) => {
    handled.push(request.url as string)
    responses.set(request.url as string, response)
  }
  const server = createServer(handler)
  const connections = trackConnections(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    connections,
    handled,
    responses,
    answer: (path) => void responses.get(path)?.end(`<${path}>`),
    async open() {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
      cleanups.push(() => socket.destroy())
      let text = ''
      socket.on('data', (chunk) => (text += chunk))
      await once(socket, 'connect')
      return Object.assign(socket, { text: () => text })
    },
  }
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`

/** What was answered, with what each answer said of the connection. */
function answers(text: string): string[] {
  return text
    .split(/(?=HTTP\/1\.1 )/)
    .filter(Boolean)
    .map((one) => `${/<(.*)>/.exec(one)?.[1]} ${/^connection: (.*)\r$/im.exec(one)?.[1]}`)
}

describe('requests pipelined on one connection, when the drain starts', () => {
  test('all that were read are answered, and the last one says close', async () => {
    const { connections, open, handled, answer } = await serve()
    const socket = await open()
    socket.write(get('/1') + get('/2') + get('/3'))
    await waitFor(() => handled.length === 3)
    connections.sayClose()
    for (const path of ['/1', '/2', '/3']) {
      answer(path)
      await waitFor(() => answers(socket.text()).some((one) => one.startsWith(`${path} `)))
    }
    await waitFor(() => socket.closed)
    expect(answers(socket.text())).toEqual(['/1 keep-alive', '/2 keep-alive', '/3 close'])
  })

  test('one whose last answer was ready before is free for another worker when it has been sent', async () => {
    const { connections, open, handled, answer } = await serve()
    const socket = await open()
    socket.write(get('/1') + get('/2'))
    await waitFor(() => handled.length === 2)
    answer('/2')
    connections.sayClose()
    expect(connections.detachIdle()).toEqual([])
    answer('/1')
    await waitFor(() => answers(socket.text()).length === 2)
    expect(answers(socket.text())).toEqual(['/1 keep-alive', '/2 keep-alive'])
    await waitFor(() => connections.idle() === 1)
    const handles = connections.detachIdle()
    expect(handles).toHaveLength(1)
    for (const handle of handles) handle.close()
  })

  test('those that come while the one before is not answered yet are answered too', async () => {
    const { connections, open, handled, answer } = await serve()
    const socket = await open()
    socket.write(get('/1'))
    await waitFor(() => handled.length === 1)
    connections.sayClose()
    socket.write(get('/2'))
    await waitFor(() => handled.length === 2)
    socket.write(get('/3'))
    await waitFor(() => handled.length === 3)
    for (const path of ['/1', '/2', '/3']) answer(path)
    await waitFor(() => socket.closed)
    expect(answers(socket.text())).toEqual(['/1 keep-alive', '/2 keep-alive', '/3 close'])
  })

  test('those that come after an answer has said close never reach the app', async () => {
    const { connections, open, handled, responses } = await serve()
    const socket = await open()
    socket.write(get('/1'))
    await waitFor(() => handled.length === 1)
    connections.sayClose()
    const response = responses.get('/1') as ServerResponse
    response.write('<')
    await waitFor(() => socket.text().endsWith('<\r\n'))
    const read = response.socket?.bytesRead ?? 0
    socket.write('POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi' + get('/3'))
    await waitFor(() => (response.socket?.bytesRead ?? 0) > read)
    response.end('/1>')
    await waitFor(() => socket.closed)
    expect(handled).toEqual(['/1'])
    expect(socket.text()).toMatch(/connection: close/i)
    expect(socket.text().endsWith('0\r\n\r\n')).toBe(true)
  })

  test('a client that wants to close, or speaks HTTP/1.0, gets what it asked for', async () => {
    const { connections, open, handled, answer } = await serve()
    const socket = await open()
    socket.write('GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n')
    await waitFor(() => handled.length === 1)
    connections.sayClose()
    answer('/1')
    await waitFor(() => socket.closed)
    expect(answers(socket.text())).toEqual(['/1 close'])
  })
})

test('under reloads: each request is answered, or was never begun', async () => {
  const launcher = await startLauncher({ args: ['--log-level', 'warn'] })
  cleanups.push(() => launcher.stop('SIGKILL'))
  let working = true
  const load = runClient('pipeline', launcher.port, 10_000, 10, 0, { TARGET: '/slow?ms=5' }).finally(
    () => (working = false),
  )
  while (working) expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 0, cut: 0 })
  const { requests, failures, hangs, errors } = await load
  expect({ failures, hangs, errors }).toEqual({ failures: 0, hangs: 0, errors: {} })
  expect(requests).toBe(10_000)
  const metrics = await (await fetch(`${(await launcher.status()).admin}/metrics`)).text()
  expect(metrics).toMatch(/^http_requests_total\{method="GET",route="\/slow",status="2xx"\} 10000$/m)
  expect(metrics).toMatch(/^fixture_slow_total 10000$/m)
  expect(metrics).toMatch(/^http_requests_aborted_total 0$/m)
}, 120_000)

describe('requests that their clients abort', () => {
  async function start(): Promise<Launcher> {
    const launcher = await startLauncher({ workers: '1', args: ['--admin', '0'] })
    cleanups.push(() => launcher.stop('SIGKILL'))
    return launcher
  }

  test('during a drain: they do not hold it up, nothing is left of them, and they are counted', async () => {
    const launcher = await start()
    const sockets = Array.from({ length: 20 }, () => connect(launcher.port, '127.0.0.1'))
    for (const socket of sockets) {
      cleanups.push(() => socket.destroy())
      socket.on('error', () => undefined)
      socket.write(get('/slow?ms=600000'))
    }
    await waitFor(async () => (await launcher.status()).slots[0]?.connections?.active === 20)
    let ended = false
    const reload = launcher.ask('reload').finally(() => (ended = true))
    // The old worker drains: it waits for them.
    await waitFor(async () => (await launcher.status()).reloading?.phase === 'draining')
    expect(ended).toBe(false)
    for (const socket of sockets) socket.destroy()
    expect(await reload).toMatchObject({ ok: true, killed: 0, cut: 0 })
    const { admin } = await launcher.status()
    const metrics = await (await fetch(`${admin}/metrics`)).text()
    expect(metrics).toMatch(/^http_requests_aborted_total 20$/m)
    expect(metrics).toMatch(/^http_connections\{.*state="active"\} 0$/m)
  })

  test('at any time: the status shows how many', async () => {
    const launcher = await start()
    const socket = connect(launcher.port, '127.0.0.1')
    socket.write(get('/slow?ms=600000'))
    await waitFor(async () => (await launcher.status()).slots[0]?.connections?.active === 1)
    expect((await launcher.status()).slots[0]?.aborted).toBe(0)
    socket.destroy()
    await waitFor(async () => (await launcher.status()).slots[0]?.aborted === 1)
    // One that was answered does not count, however its connection ends.
    expect((await fetch(launcher.url, { headers: { connection: 'close' } })).status).toBe(200)
    await waitFor(async () => (await launcher.status()).slots[0]?.connections?.active === 0)
    expect((await launcher.status()).slots[0]?.aborted).toBe(1)
    expect((await launcher.cli('status')).out).toMatch(/aborted/)
  })
})
