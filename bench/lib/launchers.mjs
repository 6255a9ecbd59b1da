import { mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { processTree, sampleProcesses } from '@fastify-scale/cluster/proc'
import { APPS } from './apps.mjs'
import { guard, killTree, runCommand, startProcess } from './children.mjs'
import { startPm2 } from './pm2.mjs'
import { freePort } from './ports.mjs'
import { npmTool } from './tools.mjs'
import { startWatt } from './watt.mjs'

const file = (path) => new URL(path, import.meta.url).pathname
const cli = file('../node_modules/@fastify-scale/cluster/dist/cli.js')

/** Fetches what the launchers that are only compared with need. */
export async function launcherTools({ watt = true } = {}) {
  return {
    pm2: await npmTool('pm2@7'),
    // Watt needs Node 22.19 or later; the workspace runs on 20 as well.
    ...(watt ? { watt: await npmTool('node@22', 'wattpm@3', '@platformatic/node@3') } : {}),
  }
}

/**
 * Starts an application with one of the launchers (`bare`, `bare-logger`, `ours`, `ours-metrics`, `pm2`, `watt`) on a
 * free port, and waits until all workers serve. `startMs` is the time from nothing to the first answer.
 */
export async function startLauncher(kind, { app = APPS.hello, workers = 2, env = {}, tools, path = '/', node }) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const spec = {
    app,
    workers,
    port,
    tools,
    node: node ?? process.execPath,
    env: { ...process.env, NODE_ENV: 'production', ...env, APP: app, WORKERS: String(workers), PORT: String(port) },
  }
  const startedAt = performance.now()
  const starting = {
    bare: startBare,
    'bare-logger': startBareWithLogger,
    ours: startOurs,
    'ours-metrics': startOurs,
    pm2: startPm2,
    watt: startWatt,
  }
  const launcher = await starting[kind]({ ...spec, metrics: kind === 'ours-metrics' })
  const release = guard(launcher.pid)
  try {
    await firstAnswer(url + path, launcher)
    const startMs = performance.now() - startedAt
    await launcher.ready
    return {
      url,
      port,
      startMs,
      /** The primary or daemon. */
      pid: launcher.pid,
      /** Processes of the workers; none where they are threads. */
      workerPids: () => processTree(launcher.pid).slice(1),
      /** Replaces all workers, by the command that its users type; resolves when it says that it is done. */
      reload: launcher.reload,
      async stop() {
        await launcher.stop()
        release()
      },
    }
  } catch (error) {
    killTree(launcher.pid)
    release()
    throw error
  }
}

/** Memory in MB: of all, of one worker, of the primary. Threads have no memory of their own: all is the primary's. */
export function memoryOf({ pid, workerPids }) {
  const workers = workerPids()
  const samples = sampleProcesses([pid, ...workers])
  const mb = (one) => (samples.get(one)?.rss ?? 0) / 1_048_576
  const inWorkers = workers.reduce((sum, one) => sum + mb(one), 0)
  return {
    rssMb: mb(pid) + inWorkers,
    primaryMb: workers.length ? mb(pid) : Number.NaN,
    workerMb: workers.length ? inWorkers / workers.length : Number.NaN,
  }
}

function startBare({ node, env }) {
  const server = startProcess([node, file('../servers/bare-cluster.mjs')], { env })
  return {
    ...server,
    ready: server.said(/^all workers listen$/),
    async reload() {
      const done = server.said(/^reloaded$/)
      server.child.kill('SIGUSR2')
      await done
    },
  }
}

/** Whose workers have Fastify's own logger, as most services do. */
function startBareWithLogger({ env, ...spec }) {
  return startBare({ ...spec, env: { ...env, LOGGER: '1' } })
}

function startOurs({ node, app, workers, port, env, metrics }) {
  const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-bench-'))
  const names = ['--name', 'bench', '--runtime-dir', dir]
  const address = ['--workers', String(workers), '--port', String(port), '--host', '127.0.0.1']
  const more = metrics ? [] : ['--no-metrics']
  const server = startProcess([node, cli, 'start', app, ...address, ...names, ...more], { env })
  return {
    ...server,
    ready: server.said(/"msg":"ready on /).then((line) => allReady(JSON.parse(line).admin, workers)),
    reload: () => runCommand([node, cli, 'reload', ...names], { env }),
    async stop() {
      await server.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** It says that it is ready when the first worker is; the others follow. */
async function allReady(admin, workers) {
  const until = performance.now() + 60_000
  while (performance.now() < until) {
    const response = await fetch(`${admin}/readyz`)
    const body = await response.json()
    if (body.workers?.filter(({ ready }) => ready).length === workers) return
    await sleep(20)
  }
  throw new Error(`not all of ${workers} workers were ready within 60 s`)
}

async function firstAnswer(url, { gone }) {
  const until = performance.now() + 60_000
  let ended = false
  void gone?.then(() => (ended = true))
  while (performance.now() < until) {
    if (ended) throw new Error('a server ended before its first answer')
    const ok = await new Promise((resolve) => {
      const request = get(url, { agent: false, timeout: 5_000 }, (response) => {
        response.resume()
        resolve(response.statusCode === 200)
      })
      request.on('error', () => resolve(false))
      request.on('timeout', () => request.destroy())
    })
    if (ok) return
    await sleep(5)
  }
  throw new Error(`no answer from ${url} within a minute`)
}
