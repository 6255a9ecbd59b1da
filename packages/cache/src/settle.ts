import type { ResolvedOptions } from './options.ts'
import { type RedisPort, sendTo } from './redis-port.ts'

/**
 * Waits until Redis's messages about a change have reached the memory of every process. Redis writes them to their
 * sockets at the end of the turn in which it made the change, in any order with the answer to us; the answer to a further
 * command proves that the turn is over. The rest is time for travelling.
 */
export async function settle(options: ResolvedOptions, port: RedisPort): Promise<void> {
  const ms = options.l1?.settle ?? 0
  if (ms === 0) return
  // The change itself was acknowledged: where this fails, links are failing too, and memory with them.
  await Promise.allSettled(port.masters.all().map((master) => sendTo(port, master, (node) => node.ping())))
  await new Promise((resolve) => setTimeout(resolve, ms))
}
