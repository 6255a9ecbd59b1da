import type { Duplex } from 'node:stream'
import { pause } from '@fastify-scale/kit'
import { drainChannel } from './channels.ts'
import type { Connection } from './limits.ts'

export interface DrainOptions {
  /** Engine.IO's connections. */
  connections: () => Iterable<Connection>
  /** Tells the clients of a connection that they should come back after `delay` ms. */
  hint: (connection: Connection, delay: number) => void
  /** TCP connections, those too that Engine.IO has given up and that have not closed yet. */
  sockets: ReadonlySet<Duplex>
  /** Connections closed a second. */
  rate: number
  /** How long a peer may take to answer, in ms. */
  stragglers: number
  random?: () => number
}

/** Time between two portions, in ms. */
const STEP = 20

/**
 * Closes every connection within `budget` ms. Closing the connection, and not the Socket.IO sockets, is what makes
 * clients come back by themselves; spreading it keeps the other processes from being flooded. A peer that does not answer
 * the close frame would hold its TCP connection for 30 s: it is cut. Who does not answer at all is asked at once, beside the
 * spreading, so that dead peers add no time of their own.
 */
export async function drainConnections(
  { connections, hint, sockets, rate, stragglers, random = Math.random }: DrainOptions,
  budget: number,
): Promise<void> {
  const begun = performance.now()
  const all = shuffle([...connections()], random)
  const forStragglers = Math.min(stragglers, budget / 3)
  const alive = pingAll(all)
  const cut = new Set<Duplex>()
  function cutAll(which: (socket: Duplex) => boolean): void {
    for (const socket of sockets) {
      if (!which(socket)) continue
      cut.add(socket)
      socket.destroy()
    }
  }
  function cutSilent(): void {
    if (performance.now() - begun >= forStragglers) cutAll((socket) => !alive.has(socket))
  }
  const spread = Math.max(0, Math.min((all.length / rate) * 1_000, budget - forStragglers - 100))
  for (let i = 0; i < all.length; ) {
    // By the clock: on a busy machine the pauses are longer than asked for.
    const due = spread === 0 ? all.length : Math.ceil(((performance.now() - begun + STEP) / spread) * all.length)
    for (; i < Math.min(due, all.length); i++) {
      const connection = all[i] as Connection
      if (connection.readyState !== 'open') continue
      hint(connection, Math.round(random() * 100))
      connection.close()
    }
    cutSilent()
    if (i < all.length) await pause(STEP)
  }
  const until = performance.now() + forStragglers
  while (sockets.size > 0 && performance.now() < until) {
    await pause(STEP)
    cutSilent()
  }
  cutAll(() => true)
  drainChannel.publish(() => ({
    closed: Math.max(0, all.length - cut.size),
    cut: cut.size,
    ms: Math.round(performance.now() - begun),
  }))
}

/** The TCP connections whose peers have answered: filled in as they do. */
function pingAll(connections: readonly Connection[]): ReadonlySet<Duplex> {
  const alive = new Set<Duplex>()
  for (const { readyState, transport } of connections) {
    const { socket } = transport
    if (readyState !== 'open') continue
    socket.once('pong', () => {
      if (socket._socket) alive.add(socket._socket)
    })
    socket.ping()
  }
  return alive
}

function shuffle<T>(list: T[], random: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[list[i], list[j]] = [list[j] as T, list[i] as T]
  }
  return list
}
