import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { waitFor } from './helpers.ts'
import { FIXTURES, type Launcher, startLauncher } from './launcher.ts'

let dir: string
const cleanups: (() => unknown)[] = []
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fs-tls-'))
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=localhost',
      '-keyout',
      join(dir, 'key'),
      '-out',
      join(dir, 'cert'),
    ],
    { stdio: 'ignore' },
  )
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

async function start(env: NodeJS.ProcessEnv = {}): Promise<Launcher> {
  const launcher = await startLauncher({
    app: join(FIXTURES, 'tls.mjs'),
    env: { KEY: join(dir, 'key'), CERT: join(dir, 'cert'), ...env },
  })
  cleanups.push(() => launcher.stop('SIGKILL'))
  return launcher
}

function get(port: number, agent: Agent, path = '/'): Promise<number | string> {
  return new Promise((resolve) => {
    request({ port, agent, path, rejectUnauthorized: false }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end()
  })
}

describe('TLS in the app itself', () => {
  test('connections end after their last answer, requests on the way are answered', async () => {
    const launcher = await start()
    const agents = Array.from({ length: 10 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
    let working = true
    const outcomes: (number | string)[] = []
    const load = Promise.all(
      agents.map(async (agent) => {
        while (working) {
          outcomes.push(await get(launcher.port, agent))
          // Shorter than keepAliveTimeout: a client that comes back later may find its connection closed, as ever.
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 200))
        }
        agent.destroy()
      }),
    )
    for (let i = 0; i < 3; i++)
      expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 0, cut: 0, moved: 0 })
    working = false
    await load
    expect(outcomes.length).toBeGreaterThan(50)
    expect(outcomes.filter((outcome) => outcome !== 200)).toEqual([])
    expect(await launcher.stop()).toBe(0)
  }, 60_000)

  test('an answer in flight says that its connection ends', async () => {
    const launcher = await start()
    const agent = new Agent({ keepAlive: true })
    cleanups.push(() => agent.destroy())
    const answer = new Promise<string | undefined>((resolve, reject) => {
      request({ port: launcher.port, agent, path: '/until-drain', rejectUnauthorized: false }, (response) => {
        response.resume()
        resolve(response.headers.connection)
      })
        .on('error', reject)
        .end()
    })
    await waitFor(async () => (await launcher.status()).slots.some(({ connections }) => connections?.active === 1))
    expect(await launcher.ask('reload')).toMatchObject({ ok: true, killed: 0, cut: 0 })
    expect(await answer).toBe('close')
  }, 60_000)

  test('HTTP/2: streams in flight are answered, the session ends with a GOAWAY', async () => {
    const launcher = await start({ HTTP2: '1' })
    const session = connectHttp2(`https://127.0.0.1:${launcher.port}`, { rejectUnauthorized: false })
    cleanups.push(() => session.destroy())
    const goaway = new Promise<number>((resolve) => session.once('goaway', resolve))
    const closed = new Promise((resolve) => session.once('close', resolve))
    const answer = new Promise<unknown>((resolve, reject) => {
      const stream = session.request({ ':path': '/slow' })
      stream.on('response', (headers) => resolve(headers[':status']))
      stream.on('error', reject)
      stream.resume()
    })
    // Frames are read in order: who answers the PING has the request.
    if (session.connecting) await once(session, 'connect')
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error ? reject(error) : resolve()))
    })
    const reload = launcher.ask('reload')
    expect(await answer).toBe(200)
    expect(await goaway).toBe(0)
    await closed
    expect(await reload).toMatchObject({ ok: true, killed: 0, cut: 0 })
    expect(await launcher.stop()).toBe(0)
  }, 60_000)
})
