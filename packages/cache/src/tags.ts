import type { LogicalClock } from './clock.ts'
import type { Epoch } from './epoch.ts'
import type { Guard, GuardBook } from './guard.ts'
import { BUCKETS, bucketOf } from './key.ts'
import { invalidateScript } from './lua/invalidate.lua.ts'
import { type RedisPort, send } from './redis-port.ts'

/** The most tags one record remembers as invalidated before its floor rises over the older half. */
const MOST_IN_RECORD = 2_000

/**
 * Which tags were invalidated when, by the logical clock. Tags are spread over a fixed number of records, each a sorted
 * set of the tags invalidated last, with a floor: what was loaded below the floor counts as invalid. So a record that
 * was evicted invalidates more, never less; invalidating does not depend on the number of entries; and what is kept
 * stays bounded.
 */
export class TagIndex {
  private readonly port: RedisPort
  private readonly clock: LogicalClock
  private readonly prefix: string
  private readonly book: GuardBook
  private readonly epoch: Epoch

  constructor(port: RedisPort, clock: LogicalClock, prefix: string, book: GuardBook, epoch: Epoch) {
    this.port = port
    this.clock = clock
    this.prefix = prefix
    this.book = book
    this.epoch = epoch
  }

  /** Makes the records that are missing, so that the first load with a tag need not run twice. */
  async prepare(): Promise<void> {
    const now = await this.clock.tick()
    const { client } = this.port
    for (let from = 0; from < BUCKETS; from += 128) {
      // Not through the breaker: nobody waits for this, and its slowness says nothing.
      await Promise.all(
        Array.from({ length: Math.min(128, BUCKETS - from) }, (_, i) =>
          client.zadd(this.keyOf(from + i), 'NX', now, ''),
        ),
      )
    }
  }

  /** The guards of these tags: from memory where the tracking link vouches for them, else read after this call. */
  guards(tags: readonly string[]): Promise<Guard[]> | Guard[] {
    const found: Guard[] = []
    const pending: Promise<Guard>[] = []
    for (const [bucket, of] of groupByBucket(tags)) {
      const key = this.keyOf(bucket)
      const known = this.book.get(key)
      if (known && of.every((tag) => known.scores.has(tag))) found.push(known)
      else
        pending.push(
          this.book.read(key, of, async () => {
            // Of a server that was never seen a new epoch must be known before its records count.
            await this.epoch.meet(this.port.masters.of(key))
            return send(this.port, key, (client) => client.zmscore(key, '', ...of)) as Promise<(string | null)[]>
          }),
        )
    }
    return pending.length === 0 ? found : Promise.all(pending).then((read) => [...found, ...read])
  }

  /** Makes sure that the tags have records; one that is missing begins now. */
  async ensure(tags: readonly string[]): Promise<void> {
    const guards = await this.guards(tags)
    if (guards.every((guard) => guard.floor !== undefined)) return
    const now = await this.clock.tick()
    await Promise.all(
      Array.from(groupByBucket(tags).keys(), (bucket) => {
        const key = this.keyOf(bucket)
        return send(this.port, key, (client) => client.zadd(key, 'NX', now, '')).finally(() => this.book.drop(key))
      }),
    )
  }

  /** Invalidates everything that carries one of the tags and whose load began before this call. */
  async invalidate(tags: readonly string[]): Promise<void> {
    const now = await this.clock.tick()
    await Promise.all(
      Array.from(groupByBucket(tags), ([bucket, of]) => {
        const key = this.keyOf(bucket)
        return send(this.port, key, (client) => invalidateScript(client, [key], [now, MOST_IN_RECORD, ...of])).finally(
          () => this.book.drop(key),
        )
      }),
    )
  }

  private keyOf(bucket: number): string {
    return `${this.prefix}${bucket}`
  }
}

function groupByBucket(tags: readonly string[]): Map<number, string[]> {
  const groups = new Map<number, string[]>()
  for (const tag of tags) {
    const bucket = bucketOf(tag)
    const group = groups.get(bucket)
    if (group) group.push(tag)
    else groups.set(bucket, [tag])
  }
  return groups
}
