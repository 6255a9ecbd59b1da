import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canFetchDebian, fetchDebian, libraryDirs, type Progress } from './debian.ts'
import { DevServicesError } from './errors.ts'
import { findOnPath } from './path.ts'

/** How to run a tool: `spawn(path, [...args, …], { env: { ...process.env, ...env } })`. */
export interface DebianTool {
  path: string
  env: Record<string, string>
  /** Arguments that it needs to run from where it was unpacked. */
  args: string[]
}

interface Recipe {
  /** Packages whose files are needed; libraries are followed by themselves. Default: the tool's name. */
  packages?: string[]
  /** Names on PATH. Default: the tool's name. */
  names?: string[]
  /** The program below the unpacked root. Default: usr/bin or usr/sbin. */
  program?: string
  args?: string[]
}

const RECIPES: Record<string, Recipe> = {
  // Otherwise it opens its log in /var before it reads any configuration.
  nginx: { args: ['-e', 'stderr'] },
  ab: { packages: ['apache2-utils'] },
  chromium: {
    packages: ['chromium', 'chromium-common', 'fonts-dejavu-core'],
    names: ['chromium', 'chromium-browser', 'google-chrome'],
    // The one in usr/bin is a script that looks for it in /usr.
    program: 'usr/lib/chromium/chromium',
    args: ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  },
}

/**
 * Finds a tool on PATH, or fetches it from Debian without root and without installing it. nginx, haproxy, wrk, ab and
 * chromium are known to work; of any other, the package of that name is tried.
 * @throws SCALE_DEV_SERVICES_UNAVAILABLE when it isn't installed and there is no apt
 * @throws SCALE_DEV_SERVICES_FETCH_FAILED
 */
export async function debianTool(name: string, onProgress?: Progress): Promise<DebianTool> {
  if (!/^[a-z0-9][a-z0-9+.-]*$/.test(name)) {
    throw new DevServicesError('SCALE_DEV_SERVICES_BAD_OPTION', `not a name of a tool: ${name}`)
  }
  const { packages = [name], names = [name], program, args = [] } = RECIPES[name] ?? {}
  for (const one of names) {
    const path = findOnPath(one)
    if (path) return { path, env: {}, args: [...args] }
  }
  if (!canFetchDebian()) {
    throw new DevServicesError(
      'SCALE_DEV_SERVICES_UNAVAILABLE',
      `${name} is not on PATH, and there is no apt to fetch it with: install it`,
    )
  }
  const root = await fetchDebian(`tool-${name}`, packages, onProgress)
  const path = (program ? [program] : [`usr/bin/${name}`, `usr/sbin/${name}`])
    .map((file) => join(root, file))
    .find((file) => existsSync(file))
  if (!path) {
    throw new DevServicesError('SCALE_DEV_SERVICES_FETCH_FAILED', `${packages.join(', ')} has no program ${name}`)
  }
  const env: Record<string, string> = { LD_LIBRARY_PATH: (await libraryDirs(root)).join(':') }
  if (existsSync(join(root, 'usr/share/fonts'))) env.FONTCONFIG_FILE = await fontConfig(root)
  return { path, env, args: [...args] }
}

/** Names the fonts by where it stands itself: a checkout may be moved, and its cache with it. */
async function fontConfig(root: string): Promise<string> {
  const file = join(root, 'fonts.conf')
  const text = `<fontconfig><dir prefix="relative">usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>`
  const present = await readFile(file, 'utf8').catch(() => '')
  if (present !== text) await writeFile(file, text)
  return file
}
