/**
 * Stands for a reading from Redis that is under way. A change that is told before the answer arrives kills it, and what
 * the answer says is then not kept.
 */
export interface Placeholder {
  alive: boolean
  readers: number
}

/** The readings under way, by key. */
export class Placeholders {
  private readonly pending: Map<string, Placeholder> = new Map()

  /** Before the command is sent. */
  open(key: string): Placeholder {
    let placeholder = this.pending.get(key)
    if (!placeholder) this.pending.set(key, (placeholder = { alive: true, readers: 0 }))
    placeholder.readers++
    return placeholder
  }

  /** After the answer was dealt with. */
  close(key: string, placeholder: Placeholder): void {
    if (--placeholder.readers === 0 && this.pending.get(key) === placeholder) this.pending.delete(key)
  }

  kill(key: string): void {
    const placeholder = this.pending.get(key)
    if (!placeholder) return
    placeholder.alive = false
    this.pending.delete(key)
  }

  killAll(): void {
    for (const placeholder of this.pending.values()) placeholder.alive = false
    this.pending.clear()
  }
}
