import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'

/** By so many steps of nice(1), or below everything else: Linux's SCHED_IDLE, sched(7). */
export type Yielding = number | 'idle'

/**
 * Lowers the scheduling priority of this process. On Linux each thread has one of its own: those that run already (V8's,
 * and libuv's pool) are changed here, and what begins later, worker threads and child processes included, has that of the
 * thread that began it. Returns why that was not possible, where it was not; where SCHED_IDLE is not to be had, the
 * process has the highest nice value instead.
 */
export function lowerPriority(by: Yielding): Error | undefined {
  if (by === 0) return undefined
  if (by !== 'idle') return raiseNice(by)
  const refused = ofEachThread(() => setIdle)
  return refused && (raiseNice(constants.priority.PRIORITY_LOW) ?? refused)
}

/** What `prepare` gives is done to each thread; why it, or that, was refused. */
function ofEachThread(prepare: () => (thread: number) => void): Error | undefined {
  try {
    const change = prepare()
    // The main thread comes first: what it begins from here on needs no more change.
    for (const thread of threads()) {
      try {
        change(thread)
      } catch (error) {
        // Others may have ended in the meantime.
        if (threads().includes(thread)) throw error
      }
    }
    return undefined
  } catch (error) {
    return error as Error
  }
}

/** Of Linux; elsewhere the process has one priority. */
function threads(): number[] {
  const directory = '/proc/self/task'
  return existsSync(directory) ? readdirSync(directory).map(Number) : [process.pid]
}

function raiseNice(steps: number): Error | undefined {
  return ofEachThread(() => {
    const nice = Math.min(getPriority() + steps, constants.priority.PRIORITY_LOW)
    return (thread) => setPriority(thread, nice)
  })
}

/** Node has no call for it; chrt is a part of util-linux and of BusyBox. */
function setIdle(thread: number): void {
  execFileSync('chrt', ['-i', '-p', '0', String(thread)], { stdio: ['ignore', 'ignore', 'pipe'] })
}
