import { createLineFeed } from './control/line-feed.ts'
import { createOrders } from './control/orders.ts'
import { runtimeDir, socketPath } from './control/runtime-dir.ts'
import { type Handler, startControlServer } from './control/server.ts'
import { resolveOptions, type StartClusterOptions } from './options.ts'
import { nameOf, resolveApp } from './primary/app-path.ts'
import { startGovernor } from './primary/governor.ts'
import { preparePrimary } from './primary/primary.ts'
import { startSdNotify } from './primary/sd-notify.ts'
import type { ReloadResult } from './primary/types.ts'
import { readLimits } from './limits/limits.ts'
import { narrate } from './narrate.ts'
import { createReport } from './report.ts'
import { startServices } from './services.ts'
import type { LauncherStatus } from './status.ts'

/** A cluster that this process is the primary of. */
export interface RunningCluster {
  readonly name: string
  /** Where the app answers: `http://127.0.0.1:3000`. */
  readonly addresses: readonly string[]
  /** Where livez, readyz, metrics and status are served; absent with `admin: 'off'`. */
  readonly admin: { readonly host: string; readonly port: number; readonly url: string } | undefined
  status(): LauncherStatus
  /** Replaces all workers, one after the other. Resolves with `ok: false` and a reason where the new code does not come up. */
  reload(): Promise<ReloadResult>
  /** Sets the number of workers: `4`, `'+1'`, `'-1'`. Resolves with it when all are ready. */
  scale(to: number | string): Promise<number>
  /** Drains all workers and ends them; what is not done after `drainTimeout` is cut. */
  stop(): Promise<void>
  /** Ends all workers at once, and then the rest: `ended` tells when that is done. */
  kill(): void
  /** Resolves when everything has ended: with nothing after `stop()` or `kill()`, with an error where the launcher gave up. */
  readonly ended: Promise<Error | undefined>
}

/**
 * Runs an app on several processes, with this one as the primary. Resolves when the app answers.
 * Rejects with SCALE_CLUSTER_OPTION, _APP (not there), _ADDRESS (port taken), _START (the app fails or is too slow) or
 * _RUNNING (a launcher of that name runs), and leaves nothing behind.
 */
export async function startCluster(given: StartClusterOptions): Promise<RunningCluster> {
  const options = resolveOptions(given)
  const name = options.name ?? nameOf(resolveApp(options.app, options.cwd))
  const lines = createLineFeed()
  const report = createReport({ name, level: options.logLevel, onLine: lines.push })

  const cleanups: (() => unknown)[] = []
  async function cleanUp(): Promise<void> {
    for (const step of cleanups.splice(0).reverse()) await step()
  }
  let end: (error?: Error) => void = () => undefined
  const ended = new Promise<Error | undefined>((resolve) => (end = resolve))
  async function finish(stop: () => unknown, error?: Error): Promise<void> {
    await stop()
    await cleanUp()
    end(error)
  }

  try {
    // The name is claimed first: a second launcher must not get as far as the port. Orders are taken when all is there.
    const handlers: Record<string, Handler> = {}
    const control = await startControlServer(socketPath(runtimeDir(options.runtimeDir), name), name, handlers)
    cleanups.push(control.close)

    const { primary, start } = await preparePrimary({
      ...options,
      name,
      notices: narrate.notices(report, (error) => void finish(() => primary.stop(), error)),
    })
    cleanups.push(() => primary.stop())
    primary.events.on('line', lines.push)
    cleanups.push(startSdNotify(primary, report.warn).stop)
    const governor = startGovernor({
      primary,
      range: options.workers,
      redLines: options.redLines,
      warn: report.warn,
      info: report.info,
    })
    cleanups.push(governor.stop)
    const services = await startServices(primary, {
      admin: options.admin,
      warnings: governor.warnings,
      onError: (error, what) => report.error(`${what}: ${error instanceof Error ? error.message : String(error)}`),
    })
    cleanups.push(services.close)
    narrate.events(report, primary, services.admin?.url)
    warnOfMemory(options.workers.max, report.warn)
    await start()

    let stopping: Promise<void> | undefined
    const stop = (): Promise<void> => (stopping ??= finish(() => primary.stop()))
    Object.assign(handlers, createOrders(primary, services, lines, stop))
    return {
      name,
      addresses: primary.addresses,
      admin: services.admin,
      status: services.status,
      reload: primary.reload,
      scale: primary.scale,
      stop,
      kill() {
        primary.kill()
        void stop()
      },
      ended,
    }
  } catch (error) {
    await cleanUp()
    throw error
  }
}

/** Resident memory in bytes of a worker with a small app. */
const SMALL_WORKER = 64 * 1_048_576

function warnOfMemory(workers: number, warn: (message: string) => void): void {
  const { memory } = readLimits()
  if (workers * SMALL_WORKER <= memory * 0.85) return
  const fit = Math.max(1, Math.floor((memory * 0.85) / SMALL_WORKER))
  warn(
    `${workers} workers need ${Math.round((workers * SMALL_WORKER) / 1_048_576)} MB at the least, of ${Math.round(memory / 1_048_576)} MB granted: ${fit} would fit`,
  )
}
