import type { Peer } from './bus.ts'

/** Who holds a name, for `status`. */
export interface PlaceStatus {
  name: string
  /** The id of the worker that holds it. */
  holder: number | undefined
  fencing: number
  /** How many workers stand ready to take over. */
  waiting: number
}

/**
 * The primary's side of `singleton`: for each name one place, held by at most one worker. The place is given on when its
 * holder has released it (its function has ended) or its process has ended, and not before.
 */
export interface Places {
  /** Serves a worker. */
  attach(id: number, peer: Peer): void
  /** The worker's process has ended. */
  detach(id: number): void
  status(): PlaceStatus[]
  /** The id of the worker that holds a name. */
  holder(name: string): number | undefined
}

/** One asking of one worker. The ticket, the worker's own number, comes back in the grant and with the release. */
interface Claim {
  id: number
  ticket: number
}

interface Place {
  holder?: Claim
  fencing: number
  waiting: Claim[]
}

/** @param wallClock ms since 1970: fencing numbers go up also over restarts of the launcher */
export function createPlaces(wallClock: () => number = Date.now): Places {
  const peers = new Map<number, Peer>()
  const places = new Map<string, Place>()

  function settle(name: string, place: Place): void {
    if (place.holder === undefined) {
      // The worker that came last: in a rolling reload it is the newest, which will not be replaced again at once.
      const next = place.waiting.pop()
      if (next) {
        place.holder = next
        place.fencing = Math.max(place.fencing + 1, wallClock())
        peers.get(next.id)?.note('singleton.grant', { name, ticket: next.ticket, fencing: place.fencing })
      }
    }
  }

  function drop(name: string, place: Place, matches: (claim: Claim) => boolean): void {
    place.waiting = place.waiting.filter((claim) => !matches(claim))
    if (place.holder && matches(place.holder)) place.holder = undefined
    settle(name, place)
  }

  return {
    attach(id, peer) {
      peers.set(id, peer)
      peer.onNote('singleton.want', (data) => {
        const claim = readClaim(data)
        if (!claim || peers.get(id) !== peer) return
        let place = places.get(claim.name)
        if (!place) places.set(claim.name, (place = { fencing: 0, waiting: [] }))
        place.waiting.push({ id, ticket: claim.ticket })
        settle(claim.name, place)
      })
      peer.onNote('singleton.leave', (data) => {
        const claim = readClaim(data)
        const place = claim && places.get(claim.name)
        if (place) drop(claim.name, place, (one) => one.id === id && one.ticket === claim.ticket)
      })
    },
    detach(id) {
      peers.delete(id)
      for (const [name, place] of places) drop(name, place, (one) => one.id === id)
    },
    status: () =>
      [...places].map(([name, { holder, fencing, waiting }]) => ({
        name,
        holder: holder?.id,
        fencing,
        waiting: waiting.length,
      })),
    holder: (name) => places.get(name)?.holder?.id,
  }
}

function readClaim(data: unknown): { name: string; ticket: number } | undefined {
  const { name, ticket } = (data ?? {}) as { name?: unknown; ticket?: unknown }
  return typeof name === 'string' && typeof ticket === 'number' ? { name, ticket } : undefined
}
