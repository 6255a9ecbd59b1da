import { open, readFile, rename, rm, stat } from 'node:fs/promises'
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
 * Replaces a file in one step: a process that reads it at that moment sees the old or the new one, whole. The file that is
 * being written keeps a second rotation out.
 */
export async function replaceKeyFile(path: string, change: (jwks: Jwks) => Promise<Jwks>): Promise<void> {
  const temporary = `${path}.new`
  const { mode } = await stat(path).catch(() => ({ mode: 0o600 }))
  const lock = await open(temporary, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST'
      ? new CliError(`${temporary} is there: another rotation is under way, or was interrupted; if none is, remove it`)
      : new CliError(`${temporary} can't be written (${error.code})`)
  })
  try {
    try {
      await lock.writeFile(toText(await change(await readKeyFile(path))))
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

function toText(jwks: Jwks): string {
  return `${JSON.stringify(jwks, null, 2)}\n`
}
