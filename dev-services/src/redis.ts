import { mkdir, symlink } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { canFetchDebian, fetchDebian, libraryDirs, type Progress } from './debian.ts'
import type { DevServicesError } from './errors.ts'
import { findOnPath } from './path.ts'
import { redisRequest } from './redis-protocol.ts'
import { makeRunDir, removeRunDir } from './run-dir.ts'
import { Daemon, type FaultyServer } from './server.ts'
import { unavailable } from './unavailable.ts'
import { freePort } from './wait.ts'

export interface RedisOptions {
  /** TCP port on 127.0.0.1. Default: a free one. */
  port?: number
  /** Further arguments of redis-server, for example `['--maxmemory', '10mb']`. */
  args?: readonly string[]
  /** Data directory, made where it is missing and kept on `stop`. Default: one of its own, removed on `stop`. */
  dir?: string
  /** Password of the default user. Default: none. */
  password?: string
  /** Called with one line for each step that takes time. */
  onProgress?: Progress
}

/** A running redis-server (or valkey-server). */
export interface RedisServer extends FaultyServer {
  /** `redis://[:password@]127.0.0.1:port` */
  readonly url: string
  readonly host: string
  readonly port: number
}

interface Binary {
  path: string
  env: NodeJS.ProcessEnv
}

const HOST = '127.0.0.1'

/**
 * Starts a real Redis without persistence (`--save "" --appendonly no`, which `args` can override) on a loopback port.
 * It is gone when this process goes, and does not keep it from exiting.
 * @throws SCALE_DEV_SERVICES_UNAVAILABLE, SCALE_DEV_SERVICES_FETCH_FAILED, SCALE_DEV_SERVICES_START_FAILED
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const binary = await redisBinary(options.onProgress)
  const dir = options.dir ?? (await makeRunDir())
  try {
    await mkdir(dir, { recursive: true })
    for (let attempt = 1; ; attempt++) {
      const port = options.port ?? (await freePort())
      const start = (): Promise<Daemon> => launch(binary, dir, port, options)
      try {
        return redisServer(await start(), start, port, dir, options)
      } catch (error) {
        if (options.port || attempt === 5 || !portTaken(error)) throw error
      }
    }
  } catch (error) {
    if (!options.dir) await removeRunDir(dir)
    throw error
  }
}

function redisServer(
  first: Daemon,
  start: () => Promise<Daemon>,
  port: number,
  dir: string,
  { dir: keptDir, password }: RedisOptions,
): RedisServer {
  let daemon = first
  return {
    url: `redis://${password ? `:${encodeURIComponent(password)}@` : ''}${HOST}:${port}`,
    host: HOST,
    port,
    get pid() {
      return daemon.pid
    },
    freeze: () => daemon.freeze(),
    thaw: () => daemon.signal('SIGCONT'),
    kill: () => daemon.kill(),
    async restart() {
      await daemon.stop()
      for (let attempt = 1; ; attempt++) {
        try {
          daemon = await start()
          return
        } catch (error) {
          // Somebody may hold the port as the local end of a connection for a moment.
          if (attempt === 50 || !portTaken(error)) throw error
          await sleep(100)
        }
      }
    },
    async stop() {
      if (keptDir) return daemon.stop()
      await daemon.kill()
      await removeRunDir(dir)
    },
  }
}

async function launch(binary: Binary, dir: string, port: number, options: RedisOptions): Promise<Daemon> {
  const { password, args = [] } = options
  const daemon = new Daemon(
    binary.path,
    [
      '--bind',
      HOST,
      '--port',
      String(port),
      '--dir',
      dir,
      '--save',
      '',
      '--appendonly',
      'no',
      ...(password ? ['--requirepass', password] : []),
      ...args,
    ],
    join(dir, 'redis.log'),
    { env: { ...process.env, ...binary.env } },
  )
  // Whoever answers must be the one just started: the port may have been taken in between.
  const isOurs = async (): Promise<boolean> => {
    const info = await redisRequest({ host: HOST, port, password }, ['INFO', 'server'], 1_000)
    return info.includes(`process_id:${daemon.pid}\r\n`)
  }
  try {
    await daemon.ready('redis-server', isOurs, 60_000)
    return daemon
  } catch (error) {
    await daemon.kill()
    throw error
  }
}

function portTaken(error: unknown): boolean {
  return /Address already in use/i.test((error as DevServicesError).message)
}

async function redisBinary(onProgress?: Progress): Promise<Binary> {
  const installed = findOnPath('redis-server') ?? findOnPath('valkey-server')
  if (installed) return { path: installed, env: {} }
  if (!canFetchDebian()) throw unavailable('redis')
  const root = await fetchDebian('redis', ['redis-server', 'redis-tools'], onProgress)
  const path = join(root, 'usr/bin/redis-server')
  // One binary serves as server and tools, told apart by the name it is called by.
  if (!existsSync(path)) await symlink('redis-check-rdb', path)
  return { path, env: { LD_LIBRARY_PATH: (await libraryDirs(root)).join(':') } }
}
