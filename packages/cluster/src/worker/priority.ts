import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'

/**
 * Lowers the scheduling priority of this process by so many steps of nice. On Linux each thread has a nice value of its
 * own: those that run already (V8's, and libuv's pool) are changed here, and what begins later, worker threads and child
 * processes included, has that of the thread that began it. Returns why that was not possible, where it was not.
 */
export function lowerPriority(steps: number): Error | undefined {
  if (steps === 0) return undefined
  try {
    const nice = Math.min(getPriority() + steps, constants.priority.PRIORITY_LOW)
    // The main thread first: what it begins from here on needs no more change.
    setPriority(nice)
    for (const thread of readdirSync('/proc/self/task')) setThread(Number(thread), nice)
    return undefined
  } catch (error) {
    return error as Error
  }
}

function setThread(thread: number, nice: number): void {
  try {
    setPriority(thread, nice)
  } catch (error) {
    // It has ended in the meantime.
    if ((error as { info?: { code?: string } }).info?.code !== 'ESRCH') throw error
  }
}
