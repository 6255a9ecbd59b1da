import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { ChildProcess } from 'node:child_process'
import { DevServicesError } from './errors.ts'
import { spawnGuarded, type GuardedOptions } from './guard.ts'
import { stopProcess } from './proc.ts'

/** What every started server can do. */
export interface Server {
  readonly pid: number
  /** Ends the server and removes its data. May be called twice. */
  stop(): Promise<void>
}

/** A server that can be made to misbehave. */
export interface FaultyServer extends Server {
  /**
   * Stops the process (SIGSTOP): connections stay open and are accepted by the kernel, nothing answers. When it
   * returns, every thread has stopped.
   */
  freeze(): void
  /** Lets a frozen process go on (SIGCONT). */
  thaw(): void
  /** Ends the process as a crash does (SIGKILL), and resolves when it is gone. Its data stay until `stop`. */
  kill(): Promise<void>
  /** Starts it again on the same port, with the data that it had; resolves when it answers. */
  restart(): Promise<void>
}

/** One run of a server's process, writing its output to a log file. */
export class Daemon {
  readonly child: ChildProcess
  readonly #log: string
  #exited = false
  readonly #exit: Promise<unknown>

  constructor(command: string, args: readonly string[], log: string, options: GuardedOptions = {}) {
    this.#log = log
    const fd = openSync(log, 'a')
    try {
      this.child = spawnGuarded(command, args, { unref: true, ...options, stdio: ['ignore', fd, fd] })
    } finally {
      closeSync(fd)
    }
    this.#exit = Promise.race([once(this.child, 'exit'), once(this.child, 'error')])
      .catch(() => {})
      .finally(() => {
        this.#exited = true
      })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get exited(): boolean {
    return this.#exited
  }

  signal(name: NodeJS.Signals): void {
    if (!this.#exited) this.child.kill(name)
  }

  freeze(): void {
    if (!this.#exited && this.child.pid) stopProcess(this.child.pid)
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.#ended()
  }

  /** Asks the process to end, and ends it after `grace` ms. */
  async stop(grace = 5_000, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.signal(signal)
    // A frozen process would never see the request.
    this.signal('SIGCONT')
    const timer = setTimeout(() => this.signal('SIGKILL'), grace)
    await this.#ended()
    clearTimeout(timer)
  }

  // The handle is not counted while the process runs; whoever waits for the end must not exit before it.
  async #ended(): Promise<void> {
    if (!this.#exited) this.child.ref()
    await this.#exit
  }

  /** The last lines that the process wrote. */
  async log(lines = 15): Promise<string> {
    const text = await readFile(this.#log, 'utf8').catch(() => '')
    return text.trimEnd().split('\n').slice(-lines).join('\n')
  }

  /**
   * Polls `ready` until it gives true.
   * @throws SCALE_DEV_SERVICES_START_FAILED with the log, when the process ends before or the timeout passes
   */
  async ready(name: string, ready: () => Promise<boolean>, timeout: number): Promise<void> {
    const deadline = performance.now() + timeout
    for (let pause = 5; ; pause = Math.min(50, pause * 1.5)) {
      if (this.#exited) throw await this.#failed(`${name} ended while it was starting`)
      if (await ready().catch(() => false)) return
      if (performance.now() > deadline) throw await this.#failed(`${name} was not ready after ${timeout} ms`)
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }

  async #failed(what: string): Promise<DevServicesError> {
    const log = await this.log()
    return new DevServicesError('SCALE_DEV_SERVICES_START_FAILED', `${what}; the end of its log:\n${log}`)
  }
}
