import { mastersOf } from './epoch.ts'
import type { ResolvedOptions } from './options.ts'
import type { RedisPort } from './redis-port.ts'

/**
 * Waits until Redis's messages about a change have reached the memory of every process. Redis writes them to their
 * sockets at the end of the turn in which it made the change, in any order with the answer to us; the answer to a further
 * command proves that the turn is over. The rest is time for travelling.
 */
export async function settle(options: ResolvedOptions, port: RedisPort): Promise<void> {
  const ms = options.l1?.settle ?? 0
  if (ms === 0) return
  const turn = Promise.all(mastersOf(port.client).map((node) => node.ping()))
  // The change itself was acknowledged: where this fails, links are failing too, and memory with them.
  await port.deadlines.guard(turn, () => new Error('no answer')).catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, ms))
}
