import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { AppError } from '../errors.ts'

/**
 * The real path of the app's module. Called for each fork: a deploy that points a symlink at a new release is followed
 * by the next reload. Throws SCALE_CLUSTER_APP.
 *
 * @param app a module, or a folder with a `main` in its package.json
 * @param cwd where relative paths begin, by its logical path
 */
export function resolveApp(app: string, cwd: string): string {
  const wanted = isAbsolute(app) ? app : join(cwd, app)
  if (!existsSync(wanted)) throw new AppError(`there is no app at ${wanted}`)
  const real = realpathSync(wanted)
  if (!statSync(real).isDirectory()) return real
  const main = readPackage(real)?.main ?? 'index.js'
  const file = resolve(real, main)
  if (!existsSync(file)) throw new AppError(`the folder ${wanted} has no ${main}: give the path of the app's module`)
  return realpathSync(file)
}

/**
 * The working directory by its logical path, symlinks kept, as the shell knows it. Others who start processes elsewhere
 * leave $PWD as it was: it counts only where it names the directory that we are in.
 */
export function workingDirectory(): string {
  const real = process.cwd()
  const { PWD = '' } = process.env
  try {
    return isAbsolute(PWD) && realpathSync(PWD) === real ? PWD : real
  } catch {
    return real
  }
}

/** The directory that workers run in: the same logical path, followed anew. */
export function resolveCwd(cwd: string): string {
  try {
    return realpathSync(cwd)
  } catch {
    throw new AppError(`the directory ${cwd} is gone`)
  }
}

/** The folder of the app's own package.json, where there is one. */
export function packageRoot(file: string): string | undefined {
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    if (readPackage(dir) !== undefined) return dir
    if (dir === dirname(dir)) return undefined
  }
}

/** A name for the launcher: that of the app's package, without its scope, or that of its folder. */
export function nameOf(file: string): string {
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    const name = readPackage(dir)?.name
    if (name !== undefined) return clean(name.replace(/^@[^/]*\//, ''))
    if (dir === dirname(dir)) return clean(basename(dirname(file)))
  }
}

function clean(name: string): string {
  return (
    name
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 64) || 'app'
  )
}

function readPackage(dir: string): { name?: string; main?: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name?: string; main?: string }
  } catch {
    return undefined
  }
}
