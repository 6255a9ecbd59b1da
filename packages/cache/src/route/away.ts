import type { IncomingHttpHeaders } from 'node:http'
import { Slots } from '../loader.ts'
import { Successive } from '../successive.ts'
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
 * The handlers at work while Redis is away. Requests that may share a response wait for one that had not begun when they
 * came, and take its answer where it could have been stored (collapsed requests, RFC 9111, 4); and only so many handlers
 * run at once.
 */
export class AwayFlights {
  private readonly flights: Successive<Landed | undefined> = new Successive()
  private readonly slots: Slots

  constructor(limit: number) {
    this.slots = new Slots(limit)
  }

  /** The answer to wait for, for a request that came at this time (`performance.now()`). */
  get(key: string, asked: number): Promise<Landed | undefined> | undefined {
    return this.flights.joinable(key, asked)
  }

  /** Resolves when the handler may run; at once for who comes first. */
  async open(key: string): Promise<AwayFlight> {
    let land!: AwayFlight['land']
    const done = new Promise<Landed | undefined>((resolve) => (land = resolve))
    await new Promise<void>((mayRun) => {
      void this.flights.add(key, (begin) =>
        this.slots.run(() => {
          begin()
          mayRun()
          return done
        }),
      )
    })
    return { key, land }
  }
}

/** True where a response that another request selected is the one for these headers too (RFC 9111, 4.1). */
export function isSelected(landed: Landed, headers: IncomingHttpHeaders): boolean {
  const { names } = landed
  return names.length === 0 || variantKey(names, headers) === variantKey(names, landed.headers)
}
