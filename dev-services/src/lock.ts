import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PID_SPACE } from './pid-space.ts'
import { isAlive } from './proc.ts'

const HEARTBEAT = 2_000
const STALE = 20_000

/**
 * Runs `work` while holding the directory `path` as a lock between processes. A lock whose holder is gone (its pid, where
 * that can be judged from here, or no sign of life for 20 s) is taken over. `onWait` is called once if somebody else
 * holds it.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, onWait?: () => void): Promise<T> {
  const token = `${PID_SPACE} ${process.pid} ${randomUUID()}`
  await mkdir(dirname(path), { recursive: true })
  for (let waited = false; ; waited = true) {
    try {
      // mkdir is atomic everywhere, network file systems included.
      await mkdir(path)
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    await removeIfStale(path)
    if (waited) await sleep(100)
    else onWait?.()
  }
  await writeFile(join(path, 'holder'), token)
  const heartbeat = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, HEARTBEAT)
  heartbeat.unref()
  try {
    return await work()
  } finally {
    clearInterval(heartbeat)
    if ((await holder(path)) === token) await rm(path, { recursive: true, force: true })
  }
}

async function removeIfStale(path: string): Promise<void> {
  const seen = await holder(path)
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  )
  const [space, pid] = (seen ?? '').split(' ')
  const dead = space === PID_SPACE && !isAlive(Number(pid))
  if (!dead && age < STALE) return
  // Of several that see it stale only one gets to rename it; if that one came too late and moved a fresh lock, back.
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return
  }
  if ((await holder(aside)) === seen) await rm(aside, { recursive: true, force: true })
  else await rename(aside, path).catch(() => {})
}

function holder(path: string): Promise<string | undefined> {
  return readFile(join(path, 'holder'), 'utf8').catch(() => undefined)
}
