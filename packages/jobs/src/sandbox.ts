import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Job } from 'bullmq'
import { type Child, type Children, createChildren, endChild } from './children.ts'

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

/** What `sandbox` uses of a pool. */
interface Pool {
  retain(file: string): Promise<Child>
  release(child: Child): void
}

type Sandbox = (file: string, pool: Pool) => (job: Job, token: string, signal: AbortSignal) => Promise<unknown>

const require = createRequire(import.meta.url)

/** BullMQ's sandboxed processors, for single kinds of job and not whole queues. */
export function createSandboxes(): Sandboxes {
  const pools = new Map<number | undefined, Children>()

  function poolOf(memory: number | undefined): Children {
    let pool = pools.get(memory)
    if (!pool) {
      const limit = memory === undefined ? [] : [`--max-old-space-size=${Math.floor(memory / 1_048_576)}`]
      pool = createChildren(join(internals(), 'main.js'), [...process.execArgv, ...limit])
      pools.set(memory, pool)
    }
    return pool
  }

  return {
    run({ file, memory }, { job, data, token, signal }) {
      const pool = poolOf(memory)
      const killed = new AbortController()
      let child: Child | undefined
      // Remembers the child that it got.
      const one: Pool = {
        async retain(processFile) {
          child = await pool.take(processFile, killed.signal)
          return child
        },
        release: (released) => pool.release(released),
      }
      const inner = Object.create(job, {
        asJSONSandbox: { value: () => ({ ...job.asJSONSandbox(), data: JSON.stringify(data) }) },
      }) as Job
      return {
        result: loadSandbox()(file, one)(inner, token, signal),
        async kill() {
          killed.abort(new Error('it was ended before its module was loaded'))
          if (child) await endChild(child, 'SIGKILL')
        },
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.close()))
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
