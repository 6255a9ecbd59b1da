/** The handlers at work in this process, by key, and the keys whose answers are not for sharing. */
export class RouteFlights {
  private readonly flights: Map<string, { done: Promise<void>; land: () => void }> = new Map()
  private readonly passed: Map<string, number> = new Map()

  get(key: string): Promise<void> | undefined {
    return this.flights.get(key)?.done
  }

  /** Others wait until the function returned is called. */
  open(key: string): () => void {
    let land!: () => void
    const done = new Promise<void>((resolve) => (land = resolve))
    const flight = { done, land }
    this.flights.set(key, flight)
    return () => {
      if (this.flights.get(key) === flight) this.flights.delete(key)
      land()
    }
  }

  /** Answers of this key can't be stored: for a while nobody waits for another's (hit-for-miss). */
  pass(key: string, now: number): void {
    if (this.passed.size >= 10_000) this.passed.clear()
    this.passed.set(key, now + 5_000)
  }

  isPassed(key: string, now: number): boolean {
    const until = this.passed.get(key)
    if (until === undefined) return false
    if (until > now) return true
    this.passed.delete(key)
    return false
  }
}
