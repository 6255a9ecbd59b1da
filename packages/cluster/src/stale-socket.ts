import { lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'

/**
 * Removes the unix socket of a process that was killed: nobody listens there, and nobody else can. True where the path is
 * free now; false where somebody listens, or where it is no socket and not ours to remove.
 */
export async function removeStaleSocket(path: string): Promise<boolean> {
  const file = lstatSync(path, { throwIfNoEntry: false })
  if (!file) return true
  if (!file.isSocket()) return false
  const failure = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  if (failure === 'ECONNREFUSED') rmSync(path, { force: true })
  return failure === 'ECONNREFUSED' || failure === 'ENOENT'
}
