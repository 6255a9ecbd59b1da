import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type Child, ChildPool, type Job } from 'bullmq'

/** A module that does the work of one kind of job. */
export interface Sandboxed {
  readonly file: string
  /** For the child's JavaScript, in bytes. */
  readonly memory: number | undefined
}

export interface SandboxInput {
  job: Job
  /** What the module gets as `job.data`. */
  data: unknown
  token: string
  /** Is passed on to the child as a request to end. */
  signal: AbortSignal
}

/** Runs handlers in child processes, which are kept for the next job of the same kind. */
export interface Sandboxes {
  run(sandboxed: Sandboxed, input: SandboxInput): SandboxRun
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
  const pools = new Map<number | undefined, ChildPool>()

  function poolOf(memory: number | undefined): ChildPool {
    let pool = pools.get(memory)
    if (!pool) {
      const limit = memory === undefined ? [] : [`--max-old-space-size=${Math.floor(memory / 1_048_576)}`]
      pool = new ChildPool({
        mainFile: join(internals(), 'main.js'),
        workerForkOptions: { execArgv: [...process.execArgv, ...limit] },
      })
      pools.set(memory, pool)
    }
    return pool
  }

  return {
    run({ file, memory }, { job, data, token, signal }) {
      const pool = poolOf(memory)
      let child: Child | undefined
      // What `sandbox` uses of a pool, remembering the child that it got.
      const one = {
        async retain(processFile: string) {
          child = await pool.retain(processFile)
          return child
        },
        release: (released: Child) => pool.release(released),
      }
      const inner = Object.create(job, {
        asJSONSandbox: { value: () => ({ ...job.asJSONSandbox(), data: JSON.stringify(data) }) },
      }) as Job
      return {
        result: loadSandbox()(file, one as unknown as ChildPool)(inner, token, signal),
        async kill() {
          if (child) await pool.kill(child, 'SIGKILL')
        },
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.clean()))
    },
  }
}

/** BullMQ uses these for whole queues, and exports neither. */
function internals(): string {
  return join(dirname(require.resolve('bullmq')), 'classes')
}

function loadSandbox(): Sandbox {
  return (require(join(internals(), 'sandbox.js')) as { default: Sandbox }).default
}
