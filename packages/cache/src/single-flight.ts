import type { Entry } from './entry.ts'

/** What became of a load that callers share. */
export type Outcome =
  /** Loaded, stored, and valid for everybody who joined. */
  | { type: 'value'; result: Result }
  /** Loaded, but Redis did not confirm it: good for who asked before the load began. */
  | { type: 'unconfirmed'; result: Result }
  /** Loaded and not to be stored: good for the one who opened the flight. */
  | { type: 'uncached'; result: Result }
  /** Something it depends on was invalidated meanwhile. */
  | { type: 'voided' }
  /** The loader failed. */
  | { type: 'failed'; error: unknown }
  /** Somebody else came first: look again. */
  | { type: 'again' }
  /** Another process loads; its lease has this many ms left. */
  | { type: 'busy'; left: number }
  /** Redis is away. */
  | { type: 'away' }

/** A loaded value in the form in which it is stored. */
export interface Result {
  entry: Entry
  /** The frozen value that callers share, once one asked. */
  settled?: Promise<unknown>
}

/** One load of one key in this process, shared by all who ask for it. */
export interface Flight {
  readonly key: string
  /** True from the moment on when the loader runs: who joins now may have asked after an invalidation. */
  loading: boolean
  done: Promise<Outcome>
}

/** The loads in flight in this process. */
export class Flights {
  private readonly flights: Map<string, Flight> = new Map()

  get(key: string): Flight | undefined {
    return this.flights.get(key)
  }

  open(key: string, run: (flight: Flight) => Promise<Outcome>): Flight {
    const flight: Flight = { key, loading: false, done: undefined as unknown as Promise<Outcome> }
    this.flights.set(key, flight)
    flight.done = run(flight).finally(() => this.close(flight))
    return flight
  }

  /** Nobody joins from now on: what is about to be checked must be checked for everybody who did. */
  close(flight: Flight): void {
    if (this.flights.get(flight.key) === flight) this.flights.delete(flight.key)
  }
}
