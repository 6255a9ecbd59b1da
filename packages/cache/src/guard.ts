import { type Placeholder, Placeholders } from './placeholders.ts'

/** The most tags of one record that are remembered in process memory. */
const MOST_SCORES = 4_096

/**
 * What decides whether entries are still valid, as it was read from Redis: the record of a bucket of tags, or the epoch.
 * A guard dies when Redis says that its record changed, or when the link that would say so is down; whatever relied on
 * it is not trusted from then on.
 */
export class Guard {
  private readonly record: GuardRecord
  /** `record.changes` when it was read. */
  private readonly version: number
  /** What was loaded below this reading is invalid; `undefined` where the record was missing: everything is. */
  readonly floor: number | undefined
  /** Readings at which tags were invalidated; `null` where one never was since the floor. */
  readonly scores: Map<string, number | null> = new Map()
  alive = true

  constructor(floor: number | undefined, record: GuardRecord) {
    this.floor = floor
    this.record = record
    this.version = record.changes
  }

  /** The record is known to have changed since. A guard may also be dead because nobody can say. */
  get changed(): boolean {
    return this.record.changes !== this.version
  }

  /** False where something loaded at `clock` and carrying `tags` has been invalidated since, by this record. */
  allows(clock: number, tags: readonly string[]): boolean {
    if (this.floor === undefined || clock < this.floor) return false
    for (const tag of tags) {
      const score = this.scores.get(tag)
      if (score !== undefined && score !== null && score > clock) return false
    }
    return true
  }
}

/** How often a record is known to have changed; outlives its guards. */
interface GuardRecord {
  changes: number
}

/** The guards in process memory, by key. Nothing is kept while `trusted` is false. */
export class GuardBook {
  /** True while the tracking link vouches for what is here. */
  trusted = false
  private readonly guards: Map<string, Guard> = new Map()
  /** There are as many as there are buckets of tags, and copies of the epoch. */
  private readonly records: Map<string, GuardRecord> = new Map()
  private readonly readings: Placeholders = new Placeholders()

  get(key: string): Guard | undefined {
    return this.guards.get(key)
  }

  /**
   * Reads a record and keeps it, unless it changed meanwhile.
   *
   * @param fetch gives the floor and the readings of the tags; it must be asking now, not later
   */
  read(key: string, tags: readonly string[], fetch: () => Promise<(string | null)[]>): Promise<Guard> {
    const placeholder = this.readings.open(key)
    return fetch().then(
      (values) => {
        this.readings.close(key, placeholder)
        return this.take(key, placeholder, tags, values)
      },
      (error: unknown) => {
        this.readings.close(key, placeholder)
        throw error
      },
    )
  }

  private take(key: string, placeholder: Placeholder, tags: readonly string[], values: (string | null)[]): Guard {
    const [floor] = values
    const vouched = placeholder.alive && this.trusted
    // Unchanged since it was read: one guard knows what both readings found.
    let guard = vouched ? this.guards.get(key) : undefined
    if (guard && guard.scores.size > MOST_SCORES) {
      // Never taken out of: somebody may be about to judge by it.
      guard.alive = false
      guard = undefined
    }
    guard ??= new Guard(floor === null || floor === undefined ? undefined : Number(floor), this.recordOf(key))
    for (let i = 0; i < tags.length; i++) {
      const score = values[i + 1]
      guard.scores.set(tags[i] as string, score === null || score === undefined ? null : Number(score))
    }
    if (vouched) this.guards.set(key, guard)
    else guard.alive = false
    return guard
  }

  /** The record changed. */
  drop(key: string): void {
    this.recordOf(key).changes++
    this.doubt(key)
  }

  /** Nobody can say whether the record changed. */
  doubt(key: string): void {
    this.readings.kill(key)
    const guard = this.guards.get(key)
    if (!guard) return
    guard.alive = false
    this.guards.delete(key)
  }

  private recordOf(key: string): GuardRecord {
    let record = this.records.get(key)
    if (!record) this.records.set(key, (record = { changes: 0 }))
    return record
  }

  /** Nothing here can be vouched for any more. */
  flush(): void {
    this.readings.killAll()
    for (const guard of this.guards.values()) guard.alive = false
    this.guards.clear()
  }
}
