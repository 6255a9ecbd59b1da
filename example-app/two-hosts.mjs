// The board on two hosts behind nginx, with shared services.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { debianTool, freePort, spawnGuarded, waitFor } from '@fastify-scale/dev-services'
import { forward, makeNamespaces } from './namespaces.mjs'
import { appModule, launcherCommand, startBoardServices } from './services.mjs'

const NAMES = ['host-a', 'host-b']
const START_MS = 120_000
const PORTS = { 'redis:': 6379, 'rediss:': 6379, 'postgres:': 5432, 'postgresql:': 5432, 'http:': 80, 'https:': 443 }

/**
 * Starts services, two launchers and nginx. `port` is nginx's, `workers` those of each host. `onOutput` gets what the
 * processes print.
 *
 * @param {object} options
 * @param {number} options.port
 * @param {string} [options.workers]
 * @param {NodeJS.ProcessEnv} [options.environment]
 * @param {boolean} [options.namespaces] Default true, where the machine allows them.
 * @param {(name: string, text: string) => void} [options.onOutput]
 * @param {(line: string) => void} [options.onProgress]
 */
export async function startTwoHosts({
  port,
  workers = '1',
  environment,
  namespaces: wanted = true,
  onOutput = () => undefined,
  onProgress,
}) {
  const undo = []
  const stop = async () => {
    for (const step of undo.splice(0).toReversed()) await step()
  }
  try {
    const dir = mkdtempSync(join(tmpdir(), 'photo-board-'))
    // nginx's workers run as somebody else.
    chmodSync(dir, 0o755)
    const removeDir = () => rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 })
    const hosts = []
    // Also where the process ends before all is up. A launcher ends a moment after it, and could still write there.
    const onExit = () => {
      for (const { launcher } of hosts) launcher?.kill('SIGKILL')
      removeDir()
    }
    process.once('exit', onExit)
    undo.push(() => process.off('exit', onExit), removeDir)
    const services = await startBoardServices({ port, environment, onProgress })
    undo.push(() => services.stop())
    const namespaces = wanted ? makeNamespaces(NAMES) : undefined
    if (namespaces) undo.push(() => namespaces.remove())
    const env = namespaces ? await throughGateway(services.env, namespaces.gateway, undo) : { ...services.env }
    env.TRUST_PROXY ??= namespaces ? namespaces.gateway : 'loopback'

    for (const [i, name] of NAMES.entries()) {
      const place = namespaces
        ? { address: namespaces.hosts[i].address, port: 3000, admin: 9100 }
        : { address: '127.0.0.1', port: await freePort(), admin: await freePort() }
      const host = makeHost({ name, place, namespace: namespaces?.hosts[i], namespaces, env, dir, workers, onOutput })
      hosts.push(host)
      undo.push(() => host.stop())
    }
    // One after the other would do as well; together they show that migrations run once.
    await Promise.all(hosts.map((host) => host.start()))

    const nginx = await startNginx({ dir, port, hosts, onOutput })
    undo.push(() => nginx.stop())
    return { url: `http://127.0.0.1:${port}`, hosts, env, namespaces: Boolean(namespaces), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The services listen on this machine's loopback, which a namespace does not see. */
async function throughGateway(env, gateway, undo) {
  const reached = { ...env }
  for (const name of ['REDIS_URL', 'DATABASE_URL', 'S3_ENDPOINT']) {
    const url = new URL(env[name])
    if (url.hostname !== '127.0.0.1' && url.hostname !== 'localhost') continue
    const port = Number(url.port) || PORTS[url.protocol]
    undo.push(await forward(gateway, port))
    url.host = `${gateway}:${port}`
    reached[name] = url.href.replace(/\/$/, '')
  }
  return reached
}

function makeHost({ name, place, namespace, namespaces, env, dir, workers, onOutput }) {
  const { address, port, admin } = place
  const runtimeDir = join(dir, name)
  mkdirSync(runtimeDir, { mode: 0o700 })
  const options = ['--host', address, '--port', String(port), '--workers', workers, '--admin', `${address}:${admin}`]
  const args = [launcherCommand, 'start', appModule, ...options, '--name', name, '--runtime-dir', runtimeDir]
  const host = {
    name,
    address: `${address}:${port}`,
    admin: `${address}:${admin}`,
    runtimeDir,
    /** While it runs. @type {import('node:child_process').ChildProcess | undefined} */
    launcher: undefined,
    async start() {
      const command = namespaces ? namespaces.on(namespace, process.execPath, args) : [process.execPath, args]
      const launcher = spawnGuarded(...command, { env, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const stream of [launcher.stdout, launcher.stderr])
        stream.on('data', (data) => onOutput(name, data.toString()))
      host.launcher = launcher
      launcher.once('exit', () => {
        if (host.launcher === launcher) host.launcher = undefined
      })
      await waitFor(
        async () => {
          if (host.launcher !== launcher) throw new Error(`${name}: the launcher has ended`)
          return (await fetch(`http://${host.admin}/readyz`)).ok
        },
        { timeout: START_MS, interval: 100, message: `${name} is ready` },
      )
    },
    async stop() {
      const { launcher } = host
      if (!launcher) return
      const gone = once(launcher, 'exit')
      launcher.kill('SIGTERM')
      await gone
    },
  }
  return host
}

async function startNginx({ dir, port, hosts, onOutput }) {
  const upstreams = hosts.flatMap(({ address }) => ['--upstream', address])
  const args = ['nginx', '--standalone', '--listen', `127.0.0.1:${port}`, ...upstreams]
  const { stdout } = await promisify(execFile)(process.execPath, [launcherCommand, ...args])
  const config = join(dir, 'nginx.conf')
  writeFileSync(config, stdout)
  const tool = await debianTool('nginx')
  const nginx = spawnGuarded(tool.path, [...tool.args, '-p', dir, '-c', config], {
    env: { ...process.env, ...tool.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  nginx.stderr.on('data', (data) => onOutput('nginx', data.toString()))
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/api/banner`)).ok, {
    timeout: START_MS,
    message: 'nginx serves',
  })
  return {
    async stop() {
      if (nginx.exitCode !== null || nginx.signalCode !== null) return
      const gone = once(nginx, 'exit')
      nginx.kill('SIGTERM')
      await gone
    },
  }
}
