import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { cacheDir } from '@fastify-scale/dev-services'

const run = promisify(execFile)
export const today = fileURLToPath(new URL('../../', import.meta.url))
const PACKAGES = ['kit', 'auth', 'cache', 'compress', 'storage', 'realtime', 'settings', 'jobs', 'cluster']
const SOURCES = ':(glob)packages/*/src/**'

function gitIn(root: string, ...args: string[]): string | undefined {
  try {
    return execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** What the packages are built of. */
const FILES = 'packages dev-services package.json pnpm-lock.yaml pnpm-workspace.yaml tsconfig.base.json'

/**
 * The newest commit whose packages are not those in `root`: `PREVIOUS`, where that is set. `undefined` where git does not
 * know it, as in a clone of one commit or in an unpacked tarball.
 */
export function previousCommit(root: string = today, { PREVIOUS } = process.env): string | undefined {
  const git = (...args: string[]) => gitIn(root, ...args)
  if (PREVIOUS) {
    const named = git('rev-parse', '--verify', `${PREVIOUS}^{commit}`)
    if (named === undefined) throw new Error(`PREVIOUS=${PREVIOUS} is no commit that git knows here`)
    return named
  }
  if (git('diff', '--quiet', 'HEAD', '--', SOURCES) === undefined) return git('rev-parse', '--verify', 'HEAD')
  // Empty where the repository is another one, around this folder: then there is no such commit either.
  const changed = git('log', '-1', '--format=%H', '--', SOURCES)
  return git('rev-parse', '--verify', `${changed}^`)
}

/** Builds the packages of a commit, with the dependencies that they had, and resolves with where they are. */
export async function buildRelease(commit: string): Promise<string> {
  const root = join(cacheDir(), 'releases', commit)
  if (existsSync(root)) return root
  // In place at once or not at all.
  await run('mkdir', ['-p', join(cacheDir(), 'releases')])
  const work = mkdtempSync(join(cacheDir(), 'releases', 'making-'))
  try {
    await run('sh', ['-c', `git -C "$1" archive "$2" ${FILES} | tar -x -C "$3"`, 'sh', today, commit, work])
    const install = ['install', '--frozen-lockfile', '--prefer-offline', '--ignore-scripts', '--filter', './packages/*']
    // From the root, where .npmrc lets npx fetch pnpm without asking.
    await run('npx', ['pnpm', '-C', work, ...install], { cwd: today })
    await run(join(today, 'node_modules/.bin/tsc'), ['-b', ...PACKAGES.map((name) => `packages/${name}`)], {
      cwd: work,
    })
    renameSync(work, root)
  } catch (error) {
    rmSync(work, { recursive: true, force: true })
    if (!existsSync(root)) throw error
  }
  return root
}
