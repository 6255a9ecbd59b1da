import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { ChildCommand, ParentCommand } from 'bullmq'

/** A process that has loaded a module and works on one job at a time, as BullMQ's `sandbox` speaks to it. */
export interface Child extends ChildProcess {
  /** The module. */
  readonly processFile: string
}

/** Child processes, kept for the next job of the same module. Those too that are still loading it can be ended. */
export interface Children {
  /** Rejects, and ends the child, where the module can't be loaded, or the signal aborts first. */
  take(file: string, signal: AbortSignal): Promise<Child>
  /** Gives a child back that has done its job. */
  release(child: Child): void
  /** Ends all: those that are loading at once, others after what they do, if that takes no longer than 2 s. */
  close(): Promise<void>
}

/** How long a child may take to end by itself, in ms. */
const END_MS = 2_000

/**
 * In place of BullMQ's `ChildPool`, which knows a child only when it has loaded the module, and waits for ever for one that
 * ends before.
 *
 * @param main BullMQ's `main.js`
 */
export function createChildren(main: string, execArgv: string[]): Children {
  const all = new Set<Child>()
  const loading = new Set<Child>()
  const free = new Map<string, Child[]>()

  function start(file: string): Child {
    const child = Object.assign(fork(main, { execArgv, silent: true }), { processFile: file })
    child.stdout?.pipe(process.stdout)
    child.stderr?.pipe(process.stderr)
    // What can't be sent to it, since it has ended: that is seen by its exit.
    child.on('error', () => undefined)
    all.add(child)
    child.once('exit', () => {
      all.delete(child)
      const rest = free.get(file)?.filter((one) => one !== child)
      if (rest) free.set(file, rest)
    })
    return child
  }

  return {
    async take(file, signal) {
      signal.throwIfAborted()
      const kept = free.get(file)?.pop()
      if (kept) return kept
      const child = start(file)
      loading.add(child)
      try {
        await load(child, signal)
        return child
      } catch (error) {
        child.kill('SIGKILL')
        throw error
      } finally {
        loading.delete(child)
      }
    },
    release(child) {
      if (!child.killed) free.set(child.processFile, [...(free.get(child.processFile) ?? []), child])
    },
    async close() {
      await Promise.all([...all].map((child) => endChild(child, loading.has(child) ? 'SIGKILL' : 'SIGTERM')))
    },
  }
}

/** Resolves when the child is gone. */
export async function endChild(child: Child, by: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(by)
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS)
  await gone
  clearTimeout(timer)
}

function load(child: Child, signal: AbortSignal): Promise<void> {
  const settled = new AbortController()
  const loaded = new Promise<void>((resolve, reject) => {
    const onMessage = ({ cmd, err }: { cmd: ParentCommand; err?: { message: string; stack: string } }): void => {
      if (cmd === ParentCommand.InitCompleted) resolve()
      if (cmd === ParentCommand.InitFailed) reject(Object.assign(new Error(err?.message), { stack: err?.stack }))
    }
    const onExit = (code: number | null, by: string | null): void =>
      reject(new Error(`the module's process ended while it was loading: exit code: ${code} signal: ${by}`))
    child.on('message', onMessage).on('exit', onExit).on('error', reject)
    signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: settled.signal })
    settled.signal.addEventListener('abort', () =>
      child.off('message', onMessage).off('exit', onExit).off('error', reject),
    )
    child.send({ cmd: ChildCommand.Init, value: child.processFile })
  })
  return loaded.finally(() => settled.abort())
}
