import { setTimeout as sleep } from 'node:timers/promises'
import { startLauncher } from './launchers.mjs'
import { runClients } from './steady-clients.mjs'

/**
 * One round of requests while something is done to the workers again and again: `disturb(launcher)` once a second, or when
 * the one before is done. Returns what was lost of how many, for each client as `<client>Lost` per 100,000 requests.
 */
export async function disturbedRound(kind, { clients, seconds = 6, disturb, ...options }) {
  const launcher = await startLauncher(kind, options)
  try {
    // One quiet second at either end: what is lost is lost by what happens between them.
    const until = Date.now() + (seconds + 2) * 1_000
    const running = runClients(clients, launcher.port, until)
    await sleep(1_000)
    const took = []
    while (Date.now() < until - 1_000) {
      const began = performance.now()
      await disturb(launcher)
      took.push(performance.now() - began)
      await sleep(Math.max(0, 1_000 - (performance.now() - began)))
    }
    const results = await running
    const result = { times: took.length, ms: took.reduce((sum, one) => sum + one, 0) / took.length }
    for (const name of clients) {
      const { requests, failures, hangs } = results[name]
      result[`${name}Lost`] = ((failures + hangs) * 1e5) / requests
    }
    const all = Object.values(results)
    const sum = (key) => all.reduce((total, one) => total + one[key], 0)
    return { ...result, requests: sum('requests'), failed: sum('failures'), hangs: sum('hangs') }
  } finally {
    await launcher.stop()
  }
}
