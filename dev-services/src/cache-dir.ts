import { accessSync, constants, existsSync, mkdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DevServicesError } from './errors.ts'

/**
 * Where fetched servers and the data of running ones are kept: `FASTIFY_SCALE_CACHE`; in this workspace `.cache/` at
 * its root; else `node_modules/.cache/fastify-scale` of the package that the process runs in.
 */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  const dir = env.FASTIFY_SCALE_CACHE || (workspaceCache() ?? packageCache())
  try {
    mkdirSync(dir, { recursive: true })
    accessSync(dir, constants.W_OK)
  } catch (error) {
    throw new DevServicesError(
      'SCALE_DEV_SERVICES_UNAVAILABLE',
      `cannot write to the cache directory ${dir} (${(error as Error).message}): set FASTIFY_SCALE_CACHE to a directory of yours, for example FASTIFY_SCALE_CACHE=/tmp/fastify-scale`,
    )
  }
  return realpathSync(dir)
}

function workspaceCache(): string | undefined {
  const here = fileURLToPath(import.meta.url)
  if (here.includes('/node_modules/')) return undefined
  const root = findUp(dirname(here), 'pnpm-workspace.yaml')
  return root && join(root, '.cache')
}

function packageCache(): string {
  return join(findUp(process.cwd(), 'package.json') ?? process.cwd(), 'node_modules', '.cache', 'fastify-scale')
}

function findUp(from: string, file: string): string | undefined {
  for (let dir = from; ; dir = dirname(dir)) {
    if (existsSync(join(dir, file))) return dir
    if (dir === dirname(dir)) return undefined
  }
}
