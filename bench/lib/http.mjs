import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { processTree, sampleProcesses } from '@fastify-scale/cluster/proc'
import { loadWithWrk } from './load.mjs'
import { alone } from './side-by-side.mjs'

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
 * An HTTP contender that takes turns with others (`sideBySide()`): a load of so many seconds in each.
 * CPU is of all server processes, in ms per 1,000 requests.
 */
export const httpInTurn =
  ({ command, env, readUrl, path = '/', headers, connections = 32, warmup = 1, seconds = 3, prepare }) =>
  async () => {
    const server = await startServer(command, { env, readUrl })
    let load
    return {
      async warm() {
        const extra = (await prepare?.(server.url)) ?? {}
        const options = { connections, headers: { ...headers, ...extra.headers } }
        load = (seconds) => loadWithWrk(server.url + path, { ...options, seconds })
        await load(warmup)
      },
      async turn() {
        const before = usage(server.pid, server.others)
        const { requests, rps, p50, p99, failures } = await load(seconds)
        const after = usage(server.pid, server.others)
        const cpuPer1k = ((after.cpu - before.cpu) * 1e6) / requests
        return { rps, p50, p99, cpuPer1k, rssMb: after.rss / 1_048_576, failures }
      },
      last: () => ({ startMs: server.startMs }),
      stop: () => server.stop(),
    }
  }

/** One round of an HTTP contender by itself: a fresh server, a warm-up, a measured load. */
export const httpRound = (options) => alone(httpInTurn(options))()
