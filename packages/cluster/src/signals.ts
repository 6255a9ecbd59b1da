import type { RunningCluster } from './start-cluster.ts'

/** ms in which the same stop may come again. One ^C reaches the whole process group, and npm passes it on as well. */
export const ONE_STOP = 500

/**
 * Signals to the launcher. SIGUSR2 reloads, SIGHUP too where there is no terminal; SIGTERM and SIGINT drain and stop, a
 * second one, half a second later or more, ends all at once; so does SIGQUIT at any time. Before the app is up they end
 * everything: workers end with us.
 */
export function obeySignals(): { cluster(cluster: RunningCluster): void } {
  let cluster: RunningCluster | undefined
  let stoppedAt: number | undefined

  const stop = (signal: 'SIGINT' | 'SIGTERM') => (): void => {
    const code = signal === 'SIGINT' ? 130 : 143
    if (!cluster) process.exit(code)
    if (stoppedAt === undefined) {
      stoppedAt = performance.now()
      void cluster.stop()
    } else if (performance.now() - stoppedAt >= ONE_STOP) endNow(code)
  }
  const reload = (): void => void cluster?.reload()
  function endNow(code: number): void {
    cluster?.kill()
    process.exit(code)
  }

  process.on('SIGINT', stop('SIGINT'))
  process.on('SIGTERM', stop('SIGTERM'))
  process.on('SIGQUIT', () => endNow(131))
  process.on('SIGUSR2', reload)
  // A terminal that closes ends what runs in it; a service has none and means its configuration.
  process.on('SIGHUP', process.stdin.isTTY || process.stderr.isTTY ? stop('SIGTERM') : reload)
  return { cluster: (running) => void (cluster = running) }
}
