import type { LogicalClock } from './clock.ts'
import type { Epoch } from './epoch.ts'
import type { Guard, GuardBook } from './guard.ts'
import { BUCKETS, bucketOf } from './key.ts'
import { invalidateScript } from './lua/invalidate.lua.ts'
import type { Master } from './masters.ts'
import { Reading, allOf } from './reading.ts'
import { type RedisPort, send, sendAlong, sendPatiently } from './redis-port.ts'

type Scores = Promise<(string | null)[]>

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
    return allOf(this.ask(tags))
  }

  /**
   * The guards, or the readings of them that are on their way from now on.
   *
   * @param home the master that is asked for the value in the same turn
   */
  ask(tags: readonly string[], home?: Master): (Guard | Reading)[] {
    const asked: (Guard | Reading)[] = []
    for (const [bucket, of] of groupByBucket(tags)) {
      const key = this.keyOf(bucket)
      const known = this.book.get(key)
      asked.push(known && of.every((tag) => known.scores.has(tag)) ? known : this.read(key, of, home))
    }
    return asked
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
    const now = await this.clock.tick(sendPatiently)
    await Promise.all(
      Array.from(groupByBucket(tags), ([bucket, of]) => {
        const key = this.keyOf(bucket)
        return sendPatiently(this.port, key, (client) =>
          invalidateScript(client, [key], [now, MOST_IN_RECORD, ...of]),
        ).finally(() => this.book.drop(key))
      }),
    )
  }

  private read(key: string, tags: readonly string[], home: Master | undefined): Reading {
    const master = this.port.masters.of(key)
    const by = master === home ? sendAlong : send
    const fetch = (): Promise<Guard> =>
      this.book.read(key, tags, () => by(this.port, key, (client) => client.zmscore(key, '', ...tags)) as Scores)
    // Of a server that was never seen a new epoch must be known before its records count.
    if (!master.known) return new Reading(this.epoch.meet(master).then(fetch))
    if (this.port.patient) return new Reading(fetch())
    return master.join(`${key} ${tags.join(' ')}`, fetch)
  }

  private keyOf(bucket: number): string {
    return `${this.prefix}${bucket}`
  }
}

/** Of the tags that entries carry: `decodeEntry` gives one frozen array for all that have the same. */
const grouped: WeakMap<readonly string[], ReadonlyMap<number, readonly string[]>> = new WeakMap()

function groupByBucket(tags: readonly string[]): ReadonlyMap<number, readonly string[]> {
  if (!Object.isFrozen(tags)) return group(tags)
  let groups = grouped.get(tags)
  if (!groups) grouped.set(tags, (groups = group(tags)))
  return groups
}

function group(tags: readonly string[]): ReadonlyMap<number, readonly string[]> {
  const groups = new Map<number, string[]>()
  for (const tag of tags) {
    const bucket = bucketOf(tag)
    const of = groups.get(bucket)
    if (of) of.push(tag)
    else groups.set(bucket, [tag])
  }
  return groups
}
