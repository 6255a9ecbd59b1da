import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import type { Progress } from './debian.ts'
import { DevServicesError } from './errors.ts'
import { killTree } from './guard.ts'
import { makeDataDir, PASSWORD, postgresSetup, SUPERUSER, type PostgresSetup } from './postgres-binaries.ts'
import { childrenOf, stopProcess } from './proc.ts'
import { makeRunDir, removeRunDir } from './run-dir.ts'
import { Daemon, type FaultyServer } from './server.ts'
import { freePort } from './wait.ts'

export interface PostgresOptions {
  /** TCP port on 127.0.0.1. Default: a free one. */
  port?: number
  /** Settings in place of ours, for example `{ max_connections: '10' }`. */
  settings?: Readonly<Record<string, string>>
  /** Called with one line for each step that takes time. */
  onProgress?: Progress
}

/** A running PostgreSQL. `kill` and `freeze` hit the server and every process that serves a connection. */
export interface PostgresServer extends FaultyServer {
  /** `postgres://user:password@127.0.0.1:port/postgres` */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Makes a database, by default with a new name, and gives its URL. */
  createDatabase(name?: string): Promise<string>
}

const HOST = '127.0.0.1'
const ATTEMPTS = 5

/** Survives the end of its processes, as `kill` brings it about, but not a power cut: that makes tests much faster. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  // In the data directory: in /dev/shm a killed server would leave it behind.
  dynamic_shared_memory_type: 'mmap',
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  shared_buffers: '32MB',
  jit: 'off',
  TimeZone: 'UTC',
}

/**
 * Starts a real PostgreSQL on a loopback port, with an empty database. As root it runs as the user `nobody`, whom
 * nothing is installed for. It is gone when this process goes, and does not keep it from exiting.
 * @throws SCALE_DEV_SERVICES_UNAVAILABLE, SCALE_DEV_SERVICES_START_FAILED
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const setup = await postgresSetup()
  const dir = await makeRunDir(join(setup.base, 'run'))
  try {
    const data = join(dir, 'data')
    await makeDataDir(setup, data)
    for (let attempt = 1; ; attempt++) {
      const port = options.port ?? (await freePort())
      const start = (): Promise<Daemon> => launch(setup, data, port, options)
      try {
        return postgresServer(await start(), start, port, dir)
      } catch (error) {
        if (options.port || attempt === ATTEMPTS || !/Address already in use/.test((error as Error).message))
          throw error
      }
    }
  } catch (error) {
    await removeRunDir(dir)
    throw error
  }
}

function postgresServer(first: Daemon, start: () => Promise<Daemon>, port: number, dir: string): PostgresServer {
  let daemon = first
  let frozen: { thaw(): void } | undefined
  const thaw = (): void => {
    frozen?.thaw()
    frozen = undefined
  }
  const kill = async (): Promise<void> => {
    if (!daemon.exited) await killTree(daemon.pid)
    thaw()
    await daemon.kill()
  }
  return {
    url: urlOf(port, 'postgres'),
    host: HOST,
    port,
    get pid() {
      return daemon.pid
    },
    createDatabase: (name) => createDatabase(port, name),
    freeze() {
      if (!frozen && !daemon.exited) frozen = freezeTree(daemon.pid)
    },
    thaw,
    kill,
    async restart() {
      await kill()
      daemon = await start()
    },
    async stop() {
      thaw()
      // At once, without writing anything: the data go, but shared memory has to be given back.
      await daemon.stop(5_000, 'SIGQUIT')
      await kill()
      await removeRunDir(dir)
    },
  }
}

// The processes that serve connections leave the server's process group, so that what ends a stopped server when we
// are gone would not reach them, and they would stay stopped for ever: a second guard knows them by pid.
function freezeTree(root: number): { thaw(): void } {
  stopProcess(root)
  const pids = [root, ...childrenOf(root)]
  const each = (act: (pid: number) => void): void => {
    for (const pid of pids) {
      try {
        act(pid)
      } catch {}
    }
  }
  each(stopProcess)
  const guard = spawn('/bin/sh', ['-c', `read _; kill -KILL ${pids.join(' ')}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  ;(guard.stdin as unknown as Socket).unref()
  return {
    thaw() {
      guard.kill('SIGKILL')
      each((pid) => process.kill(pid, 'SIGCONT'))
    },
  }
}

async function launch(setup: PostgresSetup, data: string, port: number, options: PostgresOptions): Promise<Daemon> {
  const settings = Object.entries({ ...SETTINGS, ...options.settings, port: String(port) })
  const daemon = new Daemon(
    join(setup.native, 'bin/postgres'),
    ['-D', data, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    join(data, '..', 'postgres.log'),
    { ...setup.user, cwd: '/', env: { ...process.env, LC_ALL: 'C' } },
  )
  const isOurs = async (): Promise<boolean> => {
    const { rows } = await query(urlOf(port, 'postgres'), 'show data_directory')
    return rows[0]?.data_directory === data
  }
  try {
    await daemon.ready('postgres', isOurs, 60_000)
    return daemon
  } catch (error) {
    await daemon.kill()
    throw error
  }
}

async function createDatabase(port: number, name = `dev_${randomBytes(6).toString('hex')}`): Promise<string> {
  // Clients don't agree on how other characters are written in a URL.
  if (!/^[\w-]{1,63}$/.test(name)) {
    throw new DevServicesError(
      'SCALE_DEV_SERVICES_BAD_OPTION',
      `a database is named with up to 63 letters, digits, _ and -: ${name}`,
    )
  }
  try {
    await query(urlOf(port, 'postgres'), `create database ${pg.escapeIdentifier(name)}`)
  } catch (error) {
    const why = (error as Error).message
    throw new DevServicesError('SCALE_DEV_SERVICES_REQUEST_FAILED', `could not make the database ${name}: ${why}`, {
      cause: error,
    })
  }
  return urlOf(port, name)
}

function urlOf(port: number, database: string): string {
  return `postgres://${SUPERUSER}:${PASSWORD}@${HOST}:${port}/${database}`
}

async function query(connectionString: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000 })
  // A server that goes while the client is closing would otherwise be an uncaught error.
  client.on('error', () => {})
  try {
    await client.connect()
    return await client.query(text)
  } finally {
    await client.end().catch(() => {})
  }
}
