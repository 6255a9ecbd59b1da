import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync, chmodSync } from 'node:fs'
import { once } from 'node:events'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type DebianTool, debianTool, freePort, waitFor } from '@fastify-scale/dev-services'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nginxConfig } from '../src/commands/nginx.ts'

const run = promisify(execFile)
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url))

let tool: DebianTool
let dir: string

beforeAll(async () => {
  tool = await debianTool('nginx')
  dir = mkdtempSync(join(tmpdir(), 'fastify-scale-nginx-'))
  // nginx's workers run as somebody else.
  chmodSync(dir, 0o755)
}, 120_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function validate(config: string): Promise<string> {
  const file = join(dir, 'nginx.conf')
  writeFileSync(file, config)
  const args = [...tool.args, '-t', '-p', dir, '-c', file]
  const { stderr } = await run(tool.path, args, { env: { ...process.env, ...tool.env } })
  return stderr
}

const UPSTREAMS = ['10.0.0.1:3000', '[fd00::2]:3000', 'unix:/run/app.sock']

test('nginx takes the whole configuration', async () => {
  const said = await validate(nginxConfig({ upstreams: UPSTREAMS, listen: '127.0.0.1:8080', standalone: true }))
  expect(said).toContain('test is successful')
  expect(said).not.toMatch(/warn|emerg/)
})

test('nginx takes the site in a configuration of its own', async () => {
  const site = nginxConfig({ upstreams: UPSTREAMS, listen: '8080', serverName: 'board.example.com www.example.com' })
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((one) => `${one}_temp_path ${one};`).join('')
  const said = await validate(`pid nginx.pid; events {} http { access_log off; ${temp}\n${site}\n}`)
  expect(said).toContain('test is successful')
})

test('one location serves all where websockets are asked for at /', async () => {
  const config = nginxConfig({ upstreams: UPSTREAMS, listen: '127.0.0.1:8080', websocketPath: '/', standalone: true })
  expect(await validate(config)).toContain('test is successful')
  expect(config.match(/location /g)).toHaveLength(1)
  expect(config).toMatch(/location \/ \{[^}]*proxy_buffering off;\s+proxy_read_timeout 1h;/)
})

test('the command prints it', async () => {
  const { stdout } = await run(process.execPath, [cli, 'nginx', '-u', '10.0.0.1:3000', '--upstream', '10.0.0.2:3000'])
  expect(stdout.trim()).toBe(nginxConfig({ upstreams: ['10.0.0.1:3000', '10.0.0.2:3000'] }).trim())
})

test.each([
  [[], 'which launchers?'],
  [['--upstream', '10.0.0.1'], '--upstream must look like'],
  [['--upstream', '10.0.0.1:3000; } evil'], '--upstream must look like'],
  [['-u', 'a:1', '--listen', 'eighty'], '--listen must look like'],
  [['-u', 'a:1', '--server-name', 'a; root /'], '--server-name must look like'],
  [['-u', 'a:1', '--max-body', '1 MB'], '--max-body must look like'],
  [['-u', 'a:1', '--websocket-path', 'ws {'], '--websocket-path must look like'],
])('%j is refused', async (args, message) => {
  const failure = (await run(process.execPath, [cli, 'nginx', ...args]).catch((error: unknown) => error)) as {
    code: number
    stderr: string
  }
  expect(failure.code).toBe(2)
  expect(failure.stderr).toContain(message)
})

test('what is idempotent is tried again elsewhere, what is not was sent once; clients cannot forge their address', async () => {
  // One answers; the other takes a request and breaks off.
  const seen = { broken: [] as string[], good: [] as string[], address: '' }
  const broken = createServer((request) => {
    seen.broken.push(request.method as string)
    request.socket.destroy()
  })
  const good = createServer((request, response) => {
    seen.good.push(request.method as string)
    seen.address = String(request.headers['x-forwarded-for'])
    request.resume().on('end', () => response.end('served'))
  })
  const upstreams = await Promise.all([broken, good].map(listen))
  const port = await freePort()
  const file = join(dir, 'retry.conf')
  // Without passive health checks, so that the broken one is met each time.
  const config = nginxConfig({ upstreams, listen: `127.0.0.1:${port}`, standalone: true })
  writeFileSync(file, config.replaceAll('max_fails=3', 'max_fails=0'))
  const nginx = spawn(tool.path, [...tool.args, '-p', dir, '-c', file], {
    env: { ...process.env, ...tool.env },
    stdio: 'ignore',
  })
  try {
    const url = `http://127.0.0.1:${port}/`
    await waitFor(async () => (await fetch(url)).ok, { timeout: 20_000 })
    seen.broken.length = 0
    const gets = await Promise.all(
      Array.from({ length: 20 }, () => fetch(url, { headers: { 'x-forwarded-for': '6.6.6.6' } })),
    )
    expect(gets.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
    expect(seen.broken.length).toBeGreaterThan(0)
    expect(seen.address).toBe('127.0.0.1')

    seen.broken.length = 0
    seen.good.length = 0
    const posts = await Promise.all(Array.from({ length: 20 }, () => fetch(url, { method: 'POST', body: 'once' })))
    expect(posts.filter(({ status }) => status === 502).length).toBe(seen.broken.length)
    expect(seen.broken.length).toBeGreaterThan(0)
    expect(seen.broken.length + seen.good.length).toBe(20)
  } finally {
    nginx.kill('SIGTERM')
    await once(nginx, 'exit')
    for (const server of [broken, good]) {
      server.closeAllConnections()
      server.close()
    }
  }
}, 60_000)

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
