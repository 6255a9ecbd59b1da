import { spawn } from 'node:child_process'
import { once } from 'node:events'

const client = new URL('../../packages/cluster/test/clients/client.mjs', import.meta.url).pathname

/**
 * Clients that never try again, so that whatever a server does to a request is counted; the ones that the launcher's own
 * tests use. Connections are as many as a small machine serves beside the reloads.
 */
export const CLIENTS = {
  think: { label: '100 kept-alive connections with think time up to 300 ms', args: ['think', 100, 300] },
  one: { label: 'one request per connection, 16 at once', args: ['one', 16, 0] },
  slow: { label: 'a handler of 50 ms, 50 kept-alive connections', args: ['slow', 50, 0] },
}

/** Runs these clients at once until `until` (ms since 1970). A request without an answer for 5 s is a hang. */
export async function runClients(names, port, until) {
  const runs = names.map(async (name) => {
    const [mode, connections, pause] = CLIENTS[name].args
    const child = spawn(process.execPath, [client, mode, port, 1e9, connections, pause].map(String), {
      env: { ...process.env, UNTIL: String(until), HANG: '5000', TARGET: mode === 'slow' ? '/slow' : '/' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`the client '${name}' ended with ${code}`)
    return [name, JSON.parse(output)]
  })
  return Object.fromEntries(await Promise.all(runs))
}
