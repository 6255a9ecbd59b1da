import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDir } from './cache-dir.ts'
import { DevServicesError } from './errors.ts'
import { withLock } from './lock.ts'
import { findOnPath } from './path.ts'
import { runProgram } from './run-program.ts'

/** Called with one line of text for each step that takes time. */
export type Progress = (line: string) => void

/** Whether Debian packages can be fetched and unpacked here. */
export function canFetchDebian(): boolean {
  return ['apt-get', 'apt-cache', 'apt-config', 'dpkg'].every((tool) => findOnPath(tool))
}

/**
 * Fetches Debian packages and the libraries they need with apt, without root and without installing anything, unpacks
 * them into one directory of the cache, and gives that directory. Done once; several processes may ask at once, and a
 * fetch that broke off is done again from the start.
 * @param name of the directory, one for each list of packages
 * @param packages what to unpack; of their dependencies only libraries are followed
 * @throws SCALE_DEV_SERVICES_FETCH_FAILED
 */
export async function fetchDebian(name: string, packages: readonly string[], onProgress?: Progress): Promise<string> {
  const base = join(cacheDir(), 'debian', debianKey())
  const target = join(base, name)
  if (existsSync(target)) return target
  const wait = (): void => onProgress?.(`waiting for another process that is fetching from Debian`)
  await withLock(
    join(base, 'fetch.lock'),
    async () => {
      if (existsSync(target)) return
      await removeUnfinished(base)
      const started = performance.now()
      onProgress?.(`fetching ${packages.join(', ')} from Debian`)
      const work = join(base, `unfinished-${process.pid}`)
      const debs = join(work, 'debs')
      const root = join(work, 'root')
      await mkdir(debs, { recursive: true })
      await mkdir(root)
      const bytes = await download(base, packages, debs)
      for (const deb of await readdir(debs)) await runProgram('dpkg', ['-x', join(debs, deb), root])
      await rename(root, target)
      await rm(work, { recursive: true, force: true })
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      onProgress?.(`fetched ${packages.join(', ')}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds} s`)
    },
    wait,
  )
  return target
}

/** The directories of an unpacked root that hold shared libraries, for `LD_LIBRARY_PATH`. */
export async function libraryDirs(root: string): Promise<string[]> {
  const dirs: string[] = []
  for (const lib of ['usr/lib', 'lib']) {
    for (const entry of await readdir(join(root, lib), { withFileTypes: true }).catch(() => [])) {
      if (!entry.isDirectory() || !entry.name.includes('-linux-')) continue
      const dir = join(root, lib, entry.name)
      dirs.push(dir)
      // Some keep libraries of their own one level down, where the programs were told at build time to look.
      for (const sub of await readdir(dir, { withFileTypes: true })) {
        if (!sub.isDirectory()) continue
        const files = await readdir(join(dir, sub.name))
        if (files.some((file) => /^lib.*\.so/.test(file))) dirs.push(join(dir, sub.name))
      }
    }
  }
  return dirs
}

// Packages of one release and architecture don't run on another that may share the cache.
function debianKey(): string {
  const arch = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim()
  let release = ''
  try {
    release = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? ''
  } catch {}
  return `${release || 'unknown'}-${arch}`
}

async function removeUnfinished(base: string): Promise<void> {
  for (const name of await readdir(base)) {
    if (name.startsWith('unfinished-')) await rm(join(base, name), { recursive: true, force: true })
  }
}

async function download(base: string, packages: readonly string[], into: string): Promise<number> {
  const apt = await aptEnvironment(join(base, 'apt'))
  const listed = join(base, 'apt', 'updated')
  const update = async (): Promise<void> => {
    // A source of the machine that is out of order matters only if what we look for can't be found.
    await runProgram('apt-get', ['update'], apt).catch(() => {})
    await writeFile(listed, '')
  }
  const fetch = async (): Promise<void> => {
    const names = await closure(packages, apt)
    await runProgram('apt-get', ['download', ...names], { ...apt, cwd: into })
  }
  const fresh = !existsSync(listed)
  if (fresh) await update()
  try {
    await fetch()
  } catch (error) {
    try {
      // The lists may name files that the archive has replaced since.
      if (fresh) throw error
      await update()
      await fetch()
    } catch (last) {
      await rm(listed, { force: true })
      const { stderr = '', message } = last as { stderr?: string; message: string }
      const why = stderr.split('\n').findLast((line) => line.startsWith('E:')) ?? message.split('\n')[0]
      throw new DevServicesError(
        'SCALE_DEV_SERVICES_FETCH_FAILED',
        `could not fetch ${packages.join(', ')} from Debian: ${why}`,
        { cause: last },
      )
    }
  }
  let bytes = 0
  for (const deb of await readdir(into)) bytes += (await readFile(join(into, deb))).length
  return bytes
}

// The packages and, through their dependencies, every library. Not the C library, which has to be the running system's.
async function closure(packages: readonly string[], apt: AptEnvironment): Promise<string[]> {
  const quiet = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`)
  const { stdout } = await runProgram('apt-cache', ['depends', '--recurse', ...quiet, ...packages], apt)
  const needs = new Map<string, string[]>()
  let current: string[] = []
  for (const line of stdout.split('\n')) {
    const dependency = /^[ |]*(?:Pre)?Depends: ([^<\s:]+)/.exec(line)?.[1]
    if (dependency) current.push(dependency)
    else if (/^\w/.test(line)) needs.set(line.trim(), (current = []))
  }
  const wanted = new Set<string>(packages)
  for (const name of wanted) {
    for (const next of needs.get(name) ?? []) if (needs.has(next) && isLibrary(next)) wanted.add(next)
  }
  return [...wanted]
}

function isLibrary(name: string): boolean {
  return name.startsWith('lib') && !/^libc6|^libc-|perl|python|^libpam-/.test(name)
}

interface AptEnvironment {
  env: NodeJS.ProcessEnv
}

// apt with state, cache and lists of its own. Of the machine's configuration only how to reach the archive is kept:
// its hooks (which clean and notify the system's own apt) must not run.
async function aptEnvironment(dir: string): Promise<AptEnvironment> {
  for (const sub of ['lists/partial', 'archives/partial', 'state']) await mkdir(join(dir, sub), { recursive: true })
  const { stdout } = await runProgram('apt-config', ['dump'])
  const kept = stdout.split('\n').filter((line) => /^(Acquire|APT::Architecture)/.test(line))
  await writeFile(join(dir, 'status'), '')
  const config = join(dir, 'apt.conf')
  await writeFile(
    config,
    [
      ...kept,
      `Dir::State "${dir}/state";`,
      `Dir::State::lists "${dir}/lists";`,
      `Dir::State::status "${dir}/status";`,
      `Dir::Cache "${dir}";`,
      'Dir::Etc::parts "/nonexistent";',
      'Dir::Etc::main "/dev/null";',
      // apt gives up root for downloads, and then could not write here.
      `APT::Sandbox::User "";`,
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
      'Debug::NoLocking "true";',
      '',
    ].join('\n'),
  )
  return { env: { ...process.env, APT_CONFIG: config, LC_ALL: 'C' } }
}
