import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface CheckerOptions {
  redis: string
  /** Where the truth is kept: a server that nothing is done to. */
  truth: string
  cluster?: { host: string; port: number }[]
  prefix: string
  seed: number
  processes: number
  /** Reads of all processes together. */
  reads: number
  keys: number
  tags: number
  broken?: 'fill-without-token'
  l1?: false | { settle: number }
  /** Called while the processes run, until they are done. */
  chaos?: () => Promise<void>
}

export interface CheckerResult {
  reads: number
  writes: number
  failures: number
  stale: { key: number; got: number; acknowledged: number; lateBy: number }[]
}

interface Log {
  reads: [key: number, start: string, value: number][]
  writes: [key: number, version: number, acknowledged: string][]
  failures: number
}

/** Lets several processes read, write and invalidate, and looks for reads that began after an acknowledged invalidation and did not see it. */
export async function runChecker(options: CheckerOptions): Promise<CheckerResult> {
  const { processes, reads, seed, chaos, ...rest } = options
  const logs: Log[] = []
  const children = Array.from({ length: processes }, (_, i) =>
    fork(
      fileURLToPath(new URL('fixtures/checker-child.mjs', import.meta.url)),
      [JSON.stringify({ ...rest, seed: seed + i * 7_919, reads: Math.ceil(reads / processes) })],
      { execArgv: [] },
    ),
  )
  let running = true
  const ended = Promise.all(
    children.map(
      (child) =>
        new Promise<void>((resolve, reject) => {
          child.on('message', (log) => logs.push(log as Log))
          child.on('exit', (code) =>
            code === 0 ? resolve() : reject(new Error(`a checker process ended with ${code}`)),
          )
        }),
    ),
  ).finally(() => (running = false))
  const storm = (async () => {
    while (running && chaos) await chaos()
  })()
  try {
    await ended
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await storm
  }
  return judge(logs)
}

function judge(logs: Log[]): CheckerResult {
  const writes = new Map<number, { at: bigint; version: number }[]>()
  for (const [key, version, at] of logs.flatMap((log) => log.writes)) {
    const list = writes.get(key) ?? []
    list.push({ at: BigInt(at), version })
    writes.set(key, list)
  }
  // For each moment the highest version whose invalidation had been acknowledged.
  for (const list of writes.values()) {
    list.sort((a, b) => (a.at < b.at ? -1 : 1))
    let highest = 0
    for (const write of list) write.version = highest = Math.max(highest, write.version)
  }
  const stale: CheckerResult['stale'] = []
  let reads = 0
  for (const [key, start, got] of logs.flatMap((log) => log.reads)) {
    reads++
    const at = BigInt(start)
    const before = writes.get(key)?.filter((write) => write.at < at)
    const last = before?.at(-1)
    if (last && got < last.version)
      stale.push({ key, got, acknowledged: last.version, lateBy: Number(at - last.at) / 1e6 })
  }
  return {
    reads,
    writes: logs.reduce((sum, log) => sum + log.writes.length, 0),
    failures: logs.reduce((sum, log) => sum + log.failures, 0),
    stale,
  }
}
