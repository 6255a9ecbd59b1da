import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { childrenOf, isAlive } from './proc.ts'

// The watcher is forked before the command takes over the shell's pid, so there is no moment without it. It holds the
// read end of a pipe whose other end only we have: however we go, the kernel closes it, and the watcher kills the
// process group. As a member of that group it keeps the group's id from being reused. Its own parent exits at once,
// so that the command never sees an unknown child.
const GUARD = `fd=$1; shift
( ( trap '' HUP INT TERM; eval "read _ <&$fd"; kill -KILL -$$ ) </dev/null >/dev/null 2>&1 & )
eval "exec $fd<&-"
exec "$@"`

export interface GuardedOptions extends SpawnOptions {
  /** Let this process exit while the child runs (which then ends the child). Default false. */
  unref?: boolean
}

/**
 * `child_process.spawn`, with the promise that the child and everything in its process group are gone when this
 * process goes, be it by SIGKILL. The child leads a process group of its own, `pid` is the command's own pid, exit code
 * and signals are its own. What the command leaves running in its group ends with it. Needs a POSIX `sh`.
 */
export function spawnGuarded(command: string, args: readonly string[], options: GuardedOptions = {}): ChildProcess {
  const { unref = false, stdio = 'pipe', ...rest } = options
  const stdioList = Array.isArray(stdio) ? [...stdio] : [stdio, stdio, stdio]
  while (stdioList.length < 3) stdioList.push('pipe')
  const fd = stdioList.length
  const child = spawn('/bin/sh', ['-c', GUARD, 'sh', String(fd), command, ...args], {
    ...rest,
    stdio: [...stdioList, 'pipe'],
    detached: true,
  })
  const pipe = child.stdio[fd as 3] as unknown as Socket | null
  pipe?.unref()
  pipe?.on('error', () => {})
  // Lets the watcher end what the command left behind, and then itself.
  child.once('exit', () => pipe?.destroy())
  child.once('error', () => pipe?.destroy())
  if (unref) child.unref()
  return child
}

/** Sends SIGKILL to a process and all its descendants, and waits until none of them runs. */
export async function killTree(pid: number): Promise<void> {
  const doomed = new Set<number>()
  const collect = (root: number): void => {
    if (doomed.has(root)) return
    doomed.add(root)
    // A stopped parent can't fork while its children are being listed.
    if (!signal(root, 'SIGSTOP')) return
    for (const child of childrenOf(root)) collect(child)
  }
  collect(pid)
  const dying = [...doomed].filter((one) => signal(one, 'SIGKILL'))
  for (const one of dying) while (isAlive(one)) await sleep(5)
}

function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}
