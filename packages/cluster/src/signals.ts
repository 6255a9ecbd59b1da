import type { RunningCluster } from './start-cluster.ts'

/**
 * Signals to the launcher. SIGUSR2 reloads, SIGHUP too where there is no terminal; SIGTERM and SIGINT drain and stop, a
 * second one ends all at once; so does SIGQUIT. Before the app is up they end everything: workers end with us.
 */
export function obeySignals(): { cluster(cluster: RunningCluster): void } {
  let cluster: RunningCluster | undefined
  let stops = 0

  const stop = (signal: 'SIGINT' | 'SIGTERM') => (): void => {
    stops += 1
    if (!cluster) process.exit(signal === 'SIGINT' ? 130 : 143)
    // ^C is sometimes sent twice by what runs us (npx, a shell script); only a later one is meant.
    if (stops === 1) void cluster.stop()
    else endNow(signal === 'SIGINT' ? 130 : 143)
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
