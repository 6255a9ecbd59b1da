import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { processTree, sampleProcesses } from '@fastify-scale/cluster/proc'
import { loadWithWrk } from './load.mjs'

/** CPU seconds and resident bytes of a process and all below it, and of others that belong to it (a daemon's). */
export function usage(pid, others = []) {
  const pids = new Set([...processTree(pid), ...others.flatMap((one) => processTree(one))])
  const samples = [...sampleProcesses(pids).values()]
  return {
    cpu: samples.reduce((sum, one) => sum + one.cpuSeconds, 0),
    rss: samples.reduce((sum, one) => sum + one.rss, 0),
    processes: samples.length,
  }
}

/**
 * Starts a server script, which prints `{"url": "…"}` on a line of its own when it answers, or a line that `readUrl` can read.
 * Ended by `stop`, with everything below it.
 */
export async function startServer(command, { env = {}, timeout = 30_000, readUrl } = {}) {
  const startedAt = performance.now()
  const child = spawn(command[0], command.slice(1), {
    env: { ...process.env, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit')
  const told = await new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${command.join(' ')} did not answer within ${timeout} ms`)),
      timeout,
    )
    void gone.then(([code]) => reject(new Error(`${command.join(' ')} exited with ${code}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = readUrl ? readUrl(line) : line.startsWith('{"url"') && JSON.parse(line)
      if (!found) return
      clearTimeout(timer)
      resolve(found)
    })
  })
  return {
    url: told.url,
    others: told.pids ?? [],
    pid: child.pid,
    startMs: performance.now() - startedAt,
    async stop() {
      const tree = processTree(child.pid)
      child.kill('SIGTERM')
      const timer = setTimeout(() => tree.forEach((pid) => kill(pid)), 5_000)
      await gone
      clearTimeout(timer)
    },
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It was gone already.
  }
}

/**
 * One round of an HTTP contender: a fresh server, a warm-up, a measured load.
 * CPU is of all server processes, in ms per 1,000 requests.
 */
export async function httpRound({
  command,
  env,
  readUrl,
  path = '/',
  headers,
  connections = 32,
  warmup = 1,
  seconds = 3,
  prepare,
}) {
  const server = await startServer(command, { env, readUrl })
  try {
    const extra = (await prepare?.(server.url)) ?? {}
    const url = server.url + path
    const load = { connections, headers: { ...headers, ...extra.headers } }
    await loadWithWrk(url, { ...load, seconds: warmup })
    const before = usage(server.pid, server.others)
    const result = await loadWithWrk(url, { ...load, seconds })
    const after = usage(server.pid, server.others)
    return {
      rps: result.rps,
      p50: result.p50,
      p99: result.p99,
      cpuPer1k: ((after.cpu - before.cpu) * 1e6) / result.requests,
      rssMb: after.rss / 1_048_576,
      startMs: server.startMs,
      failures: result.failures,
    }
  } finally {
    await server.stop()
  }
}
