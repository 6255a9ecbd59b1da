import { LogicalClock } from './clock.ts'
import { Epoch } from './epoch.ts'
import type { GuardBook } from './guard.ts'
import type { KeySpace } from './key.ts'
import type { RedisPort } from './redis-port.ts'
import { TagIndex } from './tags.ts'

/** What reads and writes the records of invalidations, over one port. */
export interface Records {
  port: RedisPort
  clock: LogicalClock
  epoch: Epoch
  tags: TagIndex
}

/** All of a cache share the book: what one port has read or changed, the others know. */
export function createRecords(port: RedisPort, space: KeySpace, book: GuardBook): Records {
  const clock = new LogicalClock(port, space.clocks)
  const epoch = new Epoch(port, clock, space.epochs, book)
  return { port, clock, epoch, tags: new TagIndex(port, clock, space.tagPrefix, book, epoch) }
}
