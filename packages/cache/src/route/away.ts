import type { IncomingHttpHeaders } from 'node:http'
import { Slots } from '../loader.ts'
import { variantKey } from './selection.ts'
import type { StoredResponse } from './stored.ts'

/** A response that was good for storing, with the request headers that selected it. */
export interface Landed {
  response: StoredResponse
  names: readonly string[]
  headers: IncomingHttpHeaders
}

/** A handler at work for who asked first. `land` hands its response to those who wait, or nothing. */
export interface AwayFlight {
  readonly key: string
  land: (landed: Landed | undefined) => void
}

/**
 * The handlers at work while Redis is away. Requests that may share a response wait for the one under way and take its
 * answer where it could have been stored (collapsed requests, RFC 9111, 4); and only so many handlers run at once.
 */
export class AwayFlights {
  private readonly flights: Map<string, Promise<Landed | undefined>> = new Map()
  private readonly slots: Slots

  constructor(limit: number) {
    this.slots = new Slots(limit)
  }

  get(key: string): Promise<Landed | undefined> | undefined {
    return this.flights.get(key)
  }

  /** Resolves when the handler may run; at once for who comes first. */
  async open(key: string): Promise<AwayFlight> {
    let land!: AwayFlight['land']
    const done = new Promise<Landed | undefined>((resolve) => (land = resolve))
    this.flights.set(key, done)
    await new Promise<void>((begin) => {
      void this.slots
        .run(() => {
          begin()
          return done
        })
        .finally(() => {
          if (this.flights.get(key) === done) this.flights.delete(key)
        })
    })
    return { key, land }
  }

  /** Something was changed: who asks from now on does not join what began before. */
  forget(): void {
    this.flights.clear()
  }
}

/** True where a response that another request selected is the one for these headers too (RFC 9111, 4.1). */
export function isSelected(landed: Landed, headers: IncomingHttpHeaders): boolean {
  const { names } = landed
  return names.length === 0 || variantKey(names, headers) === variantKey(names, landed.headers)
}
