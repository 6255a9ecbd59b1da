import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The full path of an executable on PATH (or in /usr/sbin, where daemons live and which users lack), or undefined. */
export function findOnPath(name: string): string | undefined {
  for (const dir of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']) {
    const path = join(dir, name)
    try {
      accessSync(path, constants.X_OK)
      if (dir && statSync(path).isFile()) return path
    } catch {}
  }
  return undefined
}
