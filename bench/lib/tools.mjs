import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = new URL('../../.cache/bench-tools/', import.meta.url).pathname

/**
 * Installs an npm package that is only compared with, into .cache/bench-tools, once. Not a dependency of the workspace:
 * nobody who does not run the benchmarks has to fetch it. Returns the folder that holds its node_modules.
 */
export async function npmTool(...specs) {
  const folder = join(root, specs.join('+').replaceAll('/', '-'))
  if (existsSync(join(folder, 'installed'))) return folder
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}\n')
  process.stderr.write(`bench: installing ${specs.join(' ')}\n`)
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...specs], {
    cwd: folder,
    maxBuffer: 16e6,
  })
  writeFileSync(join(folder, 'installed'), '')
  return folder
}
