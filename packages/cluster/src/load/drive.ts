import { CliError, pause } from '@fastify-scale/kit'
import type { LauncherStatus } from '../status.ts'
import { type Level, busiest } from './measure.ts'

/** What of autocannon is used. It is a development tool, installed by whoever measures. */
interface Autocannon {
  (options: {
    url: string
    connections: number
    duration: number
    method?: string
    headers?: Record<string, string>
    timeout: number
  }): Promise<{
    requests: { average: number }
    latency: { p50: number; p97_5: number; p99: number; max: number }
    errors: number
    timeouts: number
    '4xx': number
    '5xx': number
  }>
}

export async function loadAutocannon(): Promise<Autocannon> {
  try {
    const name = 'autocannon'
    return ((await import(name)) as { default: Autocannon }).default
  } catch {
    throw new CliError("needs autocannon: 'npm install --save-dev autocannon', then try again")
  }
}

const LOOK_MS = 500

/** Loads a URL from this process for `seconds`, looking at the launcher meanwhile. */
export async function driveLevel(
  autocannon: Autocannon,
  options: {
    url: string
    headers: Record<string, string>
    connections: number
    seconds: number
    workers?: number
    look?: () => Promise<LauncherStatus>
  },
): Promise<Level> {
  const { url, headers, connections, seconds, workers, look } = options
  const samples: LauncherStatus[] = []
  const done = new AbortController()
  const looking = (async () => {
    // The first look comes when rates are those of this level.
    await pause(Math.min(1_500, seconds * 500), done.signal)
    while (look && !done.signal.aborted) {
      const sample = await look().catch(() => undefined)
      if (sample) samples.push(sample)
      await pause(LOOK_MS, done.signal)
    }
  })()
  const result = await autocannon({ url, connections, duration: seconds, headers, timeout: 10 })
  done.abort()
  await looking
  const { latency } = result
  return {
    workers,
    connections,
    rps: Math.round(result.requests.average),
    latency: { p50: latency.p50, p97: latency.p97_5, p99: latency.p99, max: latency.max },
    failed: result.errors + result.timeouts + result['5xx'],
    refused: result['4xx'],
    ...busiest(samples),
  }
}
