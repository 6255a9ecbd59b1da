import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

/**
 * Whether a process runs. A zombie, which only waits for its parent to look, does not; but one whose main thread alone
 * has ended does: until the last thread is gone its sockets are open and still take connections.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it is there and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return stat(pid)?.state !== 'Z' || threadsOf(pid).some((state) => !/[ZX]/.test(state))
}

/** The direct children of a process, from /proc, or from `ps` where there is no /proc. */
export function childrenOf(pid: number): number[] {
  let pids: number[]
  try {
    pids = readdirSync('/proc').map(Number).filter(Boolean)
  } catch {
    const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    return table
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .filter(([, parent]) => parent === pid)
      .map(([child]) => child as number)
  }
  return pids.filter((one) => stat(one)?.parent === pid)
}

/**
 * Sends SIGSTOP and returns when every thread has stopped: the signal alone lets those that run on another core go on
 * for a moment, in which a server can still answer. Blocks this process for that moment, 1 s at most.
 */
export function stopProcess(pid: number): void {
  process.kill(pid, 'SIGSTOP')
  const deadline = performance.now() + 1_000
  while (performance.now() < deadline && threadsOf(pid).some((state) => !/[TtZX]/.test(state))) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => stat(`${pid}/task/${thread}`)?.state ?? 'X')
  } catch {
    return []
  }
}

function stat(pid: number | string): { state: string; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name, in parentheses, may hold anything, spaces and parentheses too.
    const [state = '', parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}
