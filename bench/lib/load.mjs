import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { debianTool } from '@fastify-scale/dev-services'

const run = promisify(execFile)
let wrk

/** Loads a URL with wrk from a process of its own. Returns requests, requests/s, latencies in ms and failures. */
export async function loadWithWrk(url, { connections = 32, seconds = 3, headers = {} } = {}) {
  wrk ??= await debianTool('wrk')
  const headerArgs = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '5s', '--latency', ...headerArgs, url]
  const { stdout } = await run(wrk.path, [...(wrk.args ?? []), ...args], { env: { ...process.env, ...wrk.env } })
  const number = (pattern) => Number(pattern.exec(stdout)?.[1] ?? 0)
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)
  const failures =
    (socketErrors ? socketErrors.slice(1).reduce((sum, n) => sum + Number(n), 0) : 0) +
    number(/Non-2xx or 3xx responses: (\d+)/)
  return {
    requests: number(/(\d+) requests in/),
    rps: number(/Requests\/sec:\s*([\d.]+)/),
    p50: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    p99: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(stdout)),
    failures,
  }
}

function milliseconds(match) {
  return match ? Number(match[1]) * { us: 0.001, ms: 1, s: 1_000 }[match[2]] : Number.NaN
}
