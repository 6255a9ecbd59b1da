import type { Peer } from './bus.ts'

/** Who holds a name, for `status`. */
export interface PlaceStatus {
  name: string
  /** The worker's id. */
  holder: number | undefined
  fencing: number
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
  /** The worker that holds a name. */
  holder(name: string): number | undefined
}

interface Place {
  holder?: number
  fencing: number
  /** In order of asking; the ticket comes back in the grant. */
  waiting: { id: number; ticket: number }[]
}

/** @param wallClock ms since 1970: fencing numbers go up also over restarts of the launcher */
export function createPlaces(wallClock: () => number = Date.now): Places {
  const peers = new Map<number, Peer>()
  const places = new Map<string, Place>()

  function grantNext(name: string, place: Place): void {
    if (place.holder !== undefined) return
    // The worker that came last: in a rolling reload it is the newest, which will not be replaced again at once.
    const next = place.waiting.pop()
    if (next === undefined) return
    place.holder = next.id
    place.fencing = Math.max(place.fencing + 1, wallClock())
    peers.get(next.id)?.note('singleton.grant', { name, ticket: next.ticket, fencing: place.fencing })
  }

  function leave(id: number, name: string, place: Place): void {
    place.waiting = place.waiting.filter((one) => one.id !== id)
    if (place.holder === id) place.holder = undefined
    grantNext(name, place)
  }

  return {
    attach(id, peer) {
      peers.set(id, peer)
      peer.onNote('singleton.want', (data) => {
        const name = nameOf(data)
        const { ticket } = (data ?? {}) as { ticket?: unknown }
        if (name === undefined || typeof ticket !== 'number' || peers.get(id) !== peer) return
        let place = places.get(name)
        if (!place) places.set(name, (place = { fencing: 0, waiting: [] }))
        if (place.holder === id) return
        place.waiting = [...place.waiting.filter((one) => one.id !== id), { id, ticket }]
        grantNext(name, place)
      })
      peer.onNote('singleton.leave', (data) => {
        const name = nameOf(data)
        const place = name === undefined ? undefined : places.get(name)
        if (place && peers.get(id) === peer) leave(id, name as string, place)
      })
    },
    detach(id) {
      peers.delete(id)
      for (const [name, place] of places) leave(id, name, place)
    },
    status: () =>
      [...places].map(([name, { holder, fencing, waiting }]) => ({ name, holder, fencing, waiting: waiting.length })),
    holder: (name) => places.get(name)?.holder,
  }
}

function nameOf(data: unknown): string | undefined {
  const { name } = (data ?? {}) as { name?: unknown }
  return typeof name === 'string' ? name : undefined
}
