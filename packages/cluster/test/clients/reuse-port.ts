// Runs in a network namespace of its own, where the kernel migrates connections: a launcher with `reuse-port`, the load
// clients, and a reload as soon as the one before has ended. Prints one line of JSON.
//   node reuse-port.ts <workers> <requests>
import { writeFileSync } from 'node:fs'
import { type ClientResult, type Launcher, runClient, startLauncher } from '../launcher.ts'

const [workers = '2', requestsText = '1000'] = process.argv.slice(2)
const requests = Number(requestsText)
const launcher: Launcher = await startLauncher({
  workers,
  args: ['--balance', 'reuse-port', '--log-level', 'warn'],
})
const results: Record<string, ClientResult> = {}
// What the kernel does without migration, for comparison.
if (process.env.MIGRATE_LATER) writeFileSync('/proc/sys/net/ipv4/tcp_migrate_req', process.env.MIGRATE_LATER)
let working = true
async function run(name: string, mode: string, connections: number, pause = 0): Promise<void> {
  results[name] = await runClient(mode, launcher.port, requests, connections, pause)
}
const load = Promise.all([
  run('one', 'one', 50),
  run('busy', 'busy', 20),
  run('think', 'think', 50, 100),
  run('post', 'post', 10),
  run('websocket', 'websocket', 10, 20),
]).finally(() => (working = false))
const reloads: unknown[] = []
while (working) reloads.push(await launcher.ask('reload'))
await load
const slots = (await launcher.status()).slots.length
process.stdout.write(`${JSON.stringify({ results, reloads, slots, code: await launcher.stop() })}\n`)
