import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from './cache-dir.ts'
import { PID_SPACE } from './pid-space.ts'
import { isAlive } from './proc.ts'

const run = promisify(execFile)

/**
 * A new empty directory for one running server. Those of processes that are gone are removed on the way, where that can
 * be judged from here.
 */
export async function makeRunDir(base: string = join(cacheDir(), 'run')): Promise<string> {
  mkdirSync(base, { recursive: true })
  for (const name of await readdir(base).catch(() => [])) {
    const [space, pid] = name.split('-')
    if (space === PID_SPACE && Number(pid) > 0 && !isAlive(Number(pid)))
      await removeRunDir(join(base, name)).catch(() => {})
  }
  return mkdtemp(join(base, `${PID_SPACE}-${process.pid}-`))
}

/** Removes the directory of a server that has ended. */
export async function removeRunDir(dir: string): Promise<void> {
  await releaseSharedMemory(join(dir, 'data', 'postmaster.pid'))
  await rm(dir, { recursive: true, force: true })
}

// PostgreSQL marks its data directory by a System V segment. A killed one leaves it in the kernel, where there is room
// for 4096, until somebody who knows its number (line 7: key and number) gives it back.
async function releaseSharedMemory(pidFile: string): Promise<void> {
  const lines = (await readFile(pidFile, 'utf8').catch(() => '')).split('\n')
  const segment = lines[6]?.trim().split(/\s+/)[1]
  if (segment) await run('ipcrm', ['-m', segment]).catch(() => {})
}
