import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ControlError } from '../errors.ts'

/**
 * The directory of control sockets: the one given, what systemd made for the service (`RUNTIME_DIRECTORY`), the user's own
 * (`XDG_RUNTIME_DIR`), or one in the temporary directory. Only its owner can enter it: that, and the socket's mode, is
 * what keeps other users from giving orders.
 */
export function runtimeDir(given?: string, env: NodeJS.ProcessEnv = process.env): string {
  const dir =
    given ??
    env.RUNTIME_DIRECTORY?.split(':')[0] ??
    (env.XDG_RUNTIME_DIR
      ? join(env.XDG_RUNTIME_DIR, 'fastify-scale')
      : join(tmpdir(), `fastify-scale-run-${process.getuid?.() ?? 'user'}`))
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const stat = lstatSync(dir)
  const mine = process.getuid === undefined || stat.uid === process.getuid()
  if (!stat.isDirectory() || !mine || (stat.mode & 0o077) !== 0)
    throw new ControlError(
      `the runtime directory ${dir} must be a directory of this user's with mode 0700; set another one with --runtime-dir`,
    )
  return dir
}

/** The control socket of one launcher. Throws where the path is longer than a unix socket's may be. */
export function socketPath(dir: string, name: string): string {
  const path = join(dir, `${name}.sock`)
  if (Buffer.byteLength(path) > 107)
    throw new ControlError(`the control socket's path ${path} is longer than 107 bytes; set a shorter --runtime-dir`)
  return path
}
