import type { Position } from '../protocol.ts'

/** What to do with a message of a history room. */
export type Verdict =
  /** New: the next in order. */
  | 'deliver'
  /** Had already. */
  | 'drop'
  /** Something before it is missing: ask for it. */
  | 'gap'
  /** The numbering is another: what was missed can't be had. */
  | 'resync'

/** Remembers how far a client is in each history room, so that it sees every message once and in order. */
export class Tracker {
  readonly #rooms = new Map<string, { epoch: string; seq: number }>()

  accept({ room, epoch, seq }: Position): Verdict {
    const last = this.#rooms.get(room)
    if (last === undefined) {
      // A message may overtake the reply to the first join.
      this.#rooms.set(room, { epoch, seq })
      return 'deliver'
    }
    if (last.epoch !== epoch) {
      this.#rooms.set(room, { epoch, seq })
      return 'resync'
    }
    if (seq <= last.seq) return 'drop'
    if (seq > last.seq + 1) return 'gap'
    last.seq = seq
    return 'deliver'
  }

  /** Everything up to `seq` counts as had. */
  set(room: string, epoch: string, seq: number): void {
    this.#rooms.set(room, { epoch, seq })
  }

  /** After a reply to a join: never back within the same numbering. */
  advance(room: string, epoch: string, seq: number): void {
    const last = this.#rooms.get(room)
    if (last?.epoch === epoch && last.seq >= seq) return
    this.#rooms.set(room, { epoch, seq })
  }

  /** How far the client is, to be sent with a join. */
  position(room: string): { epoch: string; seq: number } | undefined {
    const last = this.#rooms.get(room)
    return last && { ...last }
  }

  forget(room: string): void {
    this.#rooms.delete(room)
  }
}
