import { type FileHandle, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { CliError } from '@fastify-scale/kit'
import { loadKeySet } from './key-set.ts'
import type { Jwks } from './keys.ts'

/** Reads a key set and checks every key. */
export async function readKeyFile(path: string): Promise<Jwks> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(
      code === 'ENOENT' ? `${path} is not there: make it with 'keys new ${path}'` : `${path} can't be read (${code})`,
    )
  }
  let jwks: Jwks
  try {
    jwks = JSON.parse(text) as Jwks
  } catch {
    throw new CliError(`${path} is not JSON`)
  }
  loadKeySet(jwks)
  return jwks
}

/** Writes a new file that only its owner reads; refuses one that is there. */
export async function createKeyFile(path: string, jwks: Jwks): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(
      error.code === 'EEXIST'
        ? `${path} is there already: 'keys rotate ${path}' adds a key to it`
        : `${path} can't be written (${error.code})`,
    )
  })
  try {
    await file.writeFile(toText(jwks))
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Replaces a file in one step: a process that reads it at that moment sees the old or the new one, whole, and may read it
 * as before: owner, group and mode stay. The file that is being written keeps a second rotation out.
 */
export async function replaceKeyFile(given: string, change: (jwks: Jwks) => Promise<Jwks>): Promise<void> {
  // Renaming over a link would leave the keys behind it as they are. What is not there is told below.
  const path = await realpath(given).catch(() => given)
  const temporary = `${path}.new`
  const lock = await open(temporary, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST'
      ? new CliError(`${temporary} is there: another rotation is under way, or was interrupted; if none is, remove it`)
      : new CliError(`${temporary} can't be written (${error.code})`)
  })
  try {
    try {
      await lock.writeFile(toText(await change(await readKeyFile(path))))
      const { uid, gid, mode } = await stat(path)
      await keepOwner(lock, path, uid, gid)
      await lock.chmod(mode & 0o777)
      await lock.sync()
    } finally {
      await lock.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** A file that its readers can no longer read would end the next process that starts. */
async function keepOwner(file: FileHandle, path: string, uid: number, gid: number): Promise<void> {
  const own = await file.stat()
  if (own.uid === uid && own.gid === gid) return
  await file.chown(uid, gid).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(
      `owner and group of ${path} (${uid}:${gid}) can't be kept (${error.code}), so nothing was changed: run this as that user or as root`,
    )
  })
}

function toText(jwks: Jwks): string {
  return `${JSON.stringify(jwks, null, 2)}\n`
}
