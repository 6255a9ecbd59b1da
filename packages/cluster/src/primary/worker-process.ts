import cluster, { type Worker } from 'node:cluster'
import { fileURLToPath } from 'node:url'
import type { Port } from '../bus.ts'
import { type Beat, type FromWorker, pack, readFromWorker, type ToWorker } from '../protocol.ts'
import { specToEnv, type WorkerSpec } from '../worker/spec.ts'
import { guardChannel } from './channel-guard.ts'
import type { NativeHandle } from './listener.ts'
import { createTail } from './tail.ts'
import type { ExitInfo, WorkerHandle, WorkerState } from './types.ts'

const MAIN = fileURLToPath(new URL('../worker/main.js', import.meta.url))

export interface ForkOptions {
  spec: WorkerSpec
  cwd: string
  execArgv: readonly string[]
  env: Record<string, string>
}

export interface ForkEvents {
  /** A well-formed message about lifecycle or connections. */
  message(worker: WorkerProcess, message: FromWorker, handle: NativeHandle | undefined): void
  /** Something came that no worker of ours sends: it can't be trusted any more. */
  corrupt(worker: WorkerProcess, reason: string): void
  /** It is dead; `exit` follows when it is known why. */
  dead(worker: WorkerProcess): void
  exit(worker: WorkerProcess, exit: ExitInfo): void
}

const ignore = (): void => undefined

/** One forked process. The primary's logic sets its state; this knows the process and its channel. */
export interface WorkerProcess extends WorkerHandle {
  state: WorkerState
  readyAt: number | undefined
  beat: Beat | undefined
  /** Monotonic time in ms at which it was last heard of. */
  heardAt: number
  /** Why it could not start, in its own words. */
  failed: string | undefined
  /** Why the launcher ends it. */
  reason: string | undefined
  /** The launcher wants its end. */
  wanted: boolean
  /** Where readiness checks fail: which. */
  waitingFor: string | undefined
  send(message: ToWorker, handle?: NativeHandle): boolean
  disconnect(): void
  kill(signal: NodeJS.Signals): void
}

/** Forks a worker through node:cluster, so that further servers of the app share their ports as well. */
export function forkWorker({ spec, cwd, execArgv, env }: ForkOptions, events: ForkEvents): WorkerProcess {
  cluster.setupPrimary({
    exec: MAIN,
    args: [],
    cwd,
    execArgv: [...execArgv],
    serialization: 'json',
    // Logs go straight to our stdout; errors come through here, for the reason of a crash.
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const forked: Worker = cluster.fork({ ...env, ...specToEnv(spec) })
  const child = forked.process
  const tail = createTail()
  let ended = false
  let told = false
  const listeners = new Set<(message: unknown) => void>()

  const port: Port = {
    send: (message) => write(message),
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  const worker: WorkerProcess = {
    id: spec.id,
    slot: spec.slot,
    generation: spec.generation,
    role: spec.role,
    pid: child.pid ?? 0,
    state: 'starting',
    since: Date.now(),
    readyAt: undefined,
    beat: undefined,
    heardAt: performance.now(),
    failed: undefined,
    reason: undefined,
    wanted: false,
    waitingFor: undefined,
    port,
    send: (message, handle) => write(pack(message), handle),
    disconnect() {
      if (child.connected) child.disconnect()
    },
    kill: (signal) => void child.kill(signal),
  }

  function write(message: object, handle?: NativeHandle): boolean {
    if (!child.connected) return false
    // Errors of a channel that breaks are not news: the exit tells.
    child.send(message, handle as never, undefined, ignore)
    return true
  }

  child.stderr?.on('data', (chunk: Buffer) => {
    tail.add(chunk)
    process.stderr.write(chunk)
  })
  forked.on('error', () => undefined)
  child.on('message', (raw: unknown, handle: unknown) => {
    worker.heardAt = performance.now()
    const message = readFromWorker(raw)
    if (message) return events.message(worker, message, handle as NativeHandle | undefined)
    if (handle && typeof (handle as NativeHandle).close === 'function') (handle as NativeHandle).close()
    for (const listener of [...listeners]) listener(raw)
  })
  guardChannel(child, (reason) => events.corrupt(worker, reason))
  // A worker without its channel can't be told anything.
  child.once('disconnect', () => {
    if (worker.wanted) return
    setTimeout(() => {
      if (ended) return
      worker.reason ??= 'its channel to the launcher was closed'
      worker.kill('SIGKILL')
    }, 1_000).unref()
  })

  function end(code: number | null, signal: string | null, failure?: string): void {
    if (ended) return
    ended = true
    worker.state = 'gone'
    events.dead(worker)
    const tell = (): void => {
      if (told) return
      told = true
      const how = failure ?? (signal ? `killed by ${signal}` : `exit code ${code}`)
      const why = worker.reason ?? (worker.wanted ? undefined : tail.error())
      events.exit(worker, {
        pid: worker.pid,
        at: Date.now(),
        code,
        signal,
        reason: worker.failed ?? (why ? `${how}: ${why}` : how),
        wanted: worker.wanted,
      })
    }
    if (worker.wanted || !child.stderr || child.stderr.readableEnded) return tell()
    // What it wrote last says why; it may arrive after the news of its end. Children of its own may keep stderr open.
    child.stderr.once('end', tell)
    setTimeout(tell, 100)
  }
  // Not 'disconnect': it does not come with every death.
  child.once('exit', (code, signal) => end(code, signal))
  child.on('error', (error) => {
    if (child.pid === undefined) end(null, null, `cannot be forked: ${error.message}`)
  })
  return worker
}
