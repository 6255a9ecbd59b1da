import { backoff, pause } from '@fastify-scale/kit'
import type { Entry, Known, Reading } from './history-store.ts'

export interface FollowedRoomOptions {
  /** Reads what follows `after` (-1: only where the room is). */
  read: (after: number, known: Known | undefined) => Promise<Reading>
  /** Sends a message to the room's sockets in this process. */
  deliver: (epoch: string, entry: Entry) => void
  /** Tells them that messages are lost, and that what follows has a number above `seq`. */
  resync: (epoch: string, seq: number, reason: 'trimmed' | 'epoch') => void
  /** Messages that had been missed were read. */
  filled?: (messages: number) => void
}

/** Messages kept to serve those who come back after a moment. */
const TAIL = 100
const TAIL_BYTES = 256 * 1_024
/** Messages kept that came before those ahead of them. */
const EARLY = 1_000

/**
 * One history room as this process sees it: delivers its messages in order and once. What pub/sub loses (a broken
 * connection, a server that was replaced) shows as a hole in the numbers and is read from the log.
 */
export class FollowedRoom {
  readonly #options: FollowedRoomOptions
  readonly #stop = new AbortController()
  readonly #early = new Map<number, Entry & { epoch: string }>()
  #tail: Entry[] = []
  #tailBytes = 0
  #epoch: string | undefined
  #seq = 0
  #filling: Promise<void> | undefined
  #again = false
  /** Messages came since this was last set to false. */
  active = false

  constructor(options: FollowedRoomOptions) {
    this.#options = options
  }

  /** Where this process is; undefined until it was first read. */
  get known(): Known | undefined {
    return this.#epoch === undefined ? undefined : { epoch: this.#epoch, seq: this.#seq }
  }

  /** A message came by pub/sub. */
  onMessage(epoch: string, entry: Entry): void {
    this.active = true
    if (this.#filling || epoch !== this.#epoch || entry.seq > this.#seq + 1) {
      if (this.#early.size < EARLY) this.#early.set(entry.seq, { ...entry, epoch })
      void this.fill()
    } else if (entry.seq === this.#seq + 1) {
      this.#deliver(entry)
    }
  }

  /** The messages after `seq` up to the last delivered, where all of them are still in memory. */
  since(epoch: string, seq: number): Entry[] | undefined {
    if (epoch !== this.#epoch || seq > this.#seq) return undefined
    if (seq === this.#seq) return []
    const first = this.#tail[0]
    if (!first || first.seq > seq + 1) return undefined
    return this.#tail.slice(seq + 1 - first.seq)
  }

  /** Reads what is missing; resolves when nothing is, or when the room is closed. */
  fill(): Promise<void> {
    this.#again = true
    return (this.#filling ??= this.#fill())
  }

  close(): void {
    this.#stop.abort()
  }

  async #fill(): Promise<void> {
    for (let attempt = 1; !this.#stop.signal.aborted; ) {
      this.#again = false
      const known = this.known
      let reading: Reading
      try {
        reading = await this.#options.read(known ? known.seq : -1, known)
      } catch {
        await pause(backoff(attempt++), this.#stop.signal)
        continue
      }
      if (this.#stop.signal.aborted) break
      attempt = 1
      this.#apply(reading, known)
      const behind = this.#seq < reading.head
      this.#applyEarly()
      if (!behind && this.#early.size === 0 && !this.#again) break
    }
    // In the same turn as the decision: whoever asks from now on starts anew.
    this.#filling = undefined
  }

  #apply({ epoch, head, entries }: Reading, known: Known | undefined): void {
    const first = entries[0]
    if (known === undefined) {
      this.#begin(epoch, head)
      return
    }
    if (epoch !== known.epoch) {
      // What the new numbering still has is sent: the reload that follows a resync may be older than it.
      this.#begin(epoch, first ? first.seq - 1 : head)
      this.#options.resync(epoch, this.#seq, 'epoch')
    } else if (first ? first.seq > known.seq + 1 : head > known.seq) {
      this.#begin(epoch, head)
      this.#options.resync(epoch, head, 'trimmed')
      return
    }
    for (const entry of entries) if (entry.seq === this.#seq + 1) this.#deliver(entry)
    if (entries.length > 0) this.#options.filled?.(entries.length)
  }

  #applyEarly(): void {
    for (;;) {
      const next = this.#early.get(this.#seq + 1)
      if (!next || next.epoch !== this.#epoch) break
      this.#deliver(next)
    }
    for (const [seq, entry] of this.#early) {
      // Of another numbering than the one just read: an older one, or one that the next reading will show.
      if (seq <= this.#seq || entry.epoch !== this.#epoch) {
        this.#early.delete(seq)
        if (entry.epoch !== this.#epoch) this.#again ||= !this.#seen.has(entry.epoch)
      }
    }
  }

  /** Numberings that were there before the present one. */
  readonly #seen = new Set<string>()

  #begin(epoch: string, seq: number): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) this.#seen.add(this.#epoch)
    this.#epoch = epoch
    this.#seq = seq
    this.#tail = []
    this.#tailBytes = 0
  }

  #deliver(entry: Entry): void {
    this.#seq = entry.seq
    this.#early.delete(entry.seq)
    this.#tail.push(entry)
    this.#tailBytes += entry.payload.length
    while (this.#tail.length > TAIL || this.#tailBytes > TAIL_BYTES) {
      const [oldest] = this.#tail
      if (!oldest) break
      this.#tail.shift()
      this.#tailBytes -= oldest.payload.length
    }
    this.#options.deliver(this.#epoch as string, entry)
  }
}
