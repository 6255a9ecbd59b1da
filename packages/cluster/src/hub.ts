import { relayBroadcasts } from './broadcast.ts'
import { createPeer, type Peer, type Port } from './bus.ts'
import { createPlaces, type Places } from './places.ts'
import { createSharedRelay } from './shared-relay.ts'

/** What an app may ask of the launcher; each rejects or throws where it can't be done. */
export interface HubCommands {
  status(): unknown
  /** Resolves when the work is accepted: a worker that asks may be the one that is replaced. */
  reload(): unknown
  scale(to: number | string): unknown
  restart(slot: number): unknown
  kill(slot: number): unknown
  /** The text of an admin page: `livez`, `readyz` or `metrics`. */
  page(name: string): unknown
}

export interface HubOptions {
  /** Unique to this run of the launcher. */
  id: string
  commands: HubCommands
  onError(error: unknown, what: string): void
  /** ms since 1970. */
  wallClock?: () => number
}

/** The primary's side of everything that `fastify.cluster` does, for all workers. Without the launcher it is in the app. */
export interface Hub {
  /** Serves a worker from its fork on. */
  attach(id: number, port: Port): Peer
  /** The worker's process has ended: only now may others have what it held. */
  detach(id: number): void
  peer(id: number): Peer | undefined
  readonly places: Places
}

export function createHub({ id: hubId, commands, onError, wallClock }: HubOptions): Hub {
  const peers = new Map<number, Peer>()
  const everyone = (): Iterable<Peer> => peers.values()
  const places = createPlaces(wallClock)
  const shared = createSharedRelay(everyone, (name) => {
    const holder = places.holder(name)
    return holder === undefined ? undefined : peers.get(holder)
  })

  return {
    attach(id, port) {
      const peer = createPeer(port, onError)
      peers.set(id, peer)
      relayBroadcasts(peer, everyone)
      places.attach(id, peer)
      shared.attach(peer)
      peer.onCall('cluster.id', () => hubId)
      peer.onCall('cluster.status', () => commands.status())
      peer.onCall('cluster.reload', () => commands.reload())
      peer.onCall('cluster.scale', (to) => commands.scale(to as number | string))
      peer.onCall('cluster.restart', (slot) => commands.restart(slot as number))
      peer.onCall('cluster.kill', (slot) => commands.kill(slot as number))
      peer.onCall('cluster.page', (name) => commands.page(String(name)))
      return peer
    },
    detach(id) {
      peers.get(id)?.close()
      peers.delete(id)
      places.detach(id)
    },
    peer: (id) => peers.get(id),
    places,
  }
}
