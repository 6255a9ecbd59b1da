import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type Child, ChildPool, type Job } from 'bullmq'

/** Runs handlers in child processes, which are kept for the next job of the same module. */
export interface Sandboxes {
  /**
   * Runs one job.
   *
   * @param data what the module gets as `job.data`
   * @param signal is passed on to the child as a request to end
   */
  run(file: string, job: Job, data: unknown, token: string, signal: AbortSignal): SandboxRun
  /** Ends all children. */
  close(): Promise<void>
}

export interface SandboxRun {
  result: Promise<unknown>
  /** Ends the child by force; the result then rejects. */
  kill(): Promise<void>
}

type Sandbox = (file: string, pool: ChildPool) => (job: Job, token: string, signal: AbortSignal) => Promise<unknown>

const require = createRequire(import.meta.url)

/** BullMQ's sandboxed processors, for single kinds of job and not whole queues. */
export function createSandboxes(): Sandboxes {
  let pool: ChildPool | undefined
  return {
    run(file, job, data, token, signal) {
      const children = (pool ??= new ChildPool({ mainFile: childMain() }))
      let child: Child | undefined
      // What `sandbox` uses of a pool, remembering the child that it got.
      const one = {
        async retain(processFile: string) {
          child = await children.retain(processFile)
          return child
        },
        release: (released: Child) => children.release(released),
      }
      const inner = Object.create(job, {
        asJSONSandbox: { value: () => ({ ...job.asJSONSandbox(), data: JSON.stringify(data) }) },
      }) as Job
      const run = loadSandbox()(file, one as unknown as ChildPool)
      return {
        result: run(inner, token, signal),
        async kill() {
          if (child) await children.kill(child, 'SIGKILL')
        },
      }
    },
    async close() {
      await pool?.clean()
    },
  }
}

/** BullMQ uses these for whole queues, and exports neither. */
function internals(): string {
  return join(dirname(require.resolve('bullmq')), 'classes')
}

function childMain(): string {
  return join(internals(), 'main.js')
}

function loadSandbox(): Sandbox {
  return (require(join(internals(), 'sandbox.js')) as { default: Sandbox }).default
}
