import { AHEAD, type Connection, type Dispatcher, release, type Target } from '../dispatcher.ts'
import { homeOf } from './hash.ts'

interface Member {
  target: Target
  /** Sent and not yet taken over; our copy of the descriptor stays open until then. */
  sent: Connection[]
  /** Wait until some of what was sent is taken over. */
  queue: Connection[]
  removed: boolean
}

/**
 * Gives connections with the same key to the same slot, so to the same worker until that is replaced, and then to its
 * replacement. Where slots come or go only the connections that must move do (rendezvous hashing). A slot whose worker
 * is dead is passed over until it has another.
 */
export function createStickyDispatcher(random: () => number = Math.random): Dispatcher {
  const members = new Map<number, Member>()
  /** Nobody is there to take them. */
  const homeless: Connection[] = []
  let rescued = 0
  let closed = false

  /** The slot's newest worker: while one replaces another, both are here. */
  function choose({ handle }: Connection): Member | undefined {
    const slots = new Map<number, Member>()
    for (const member of members.values()) {
      const { slot, id } = member.target
      if (!member.removed && id > (slots.get(slot)?.target.id ?? -1)) slots.set(slot, member)
    }
    const slot = homeOf(handle.stickyKey ?? Math.floor(random() * 2 ** 32), slots.keys())
    return slot === undefined ? undefined : slots.get(slot)
  }

  function place(connection: Connection): void {
    if (closed) return release(connection)
    const member = choose(connection)
    if (!member) return void homeless.push(connection)
    member.queue.push(connection)
    pump(member)
  }

  function pump({ target, sent, queue }: Member): void {
    while (queue.length > 0 && sent.length < AHEAD) {
      const connection = queue[0] as Connection
      // Its channel is gone and its exit will be heard of.
      if (!target.take(connection)) return
      queue.shift()
      sent.push(connection)
    }
  }

  return {
    get waiting() {
      let count = homeless.length
      for (const { queue } of members.values()) count += queue.length
      return count
    },
    get rescued() {
      return rescued
    },
    accept: place,
    add(target) {
      const member = members.get(target.id) ?? { target, sent: [], queue: [], removed: false }
      member.removed = false
      members.set(target.id, member)
      for (const connection of homeless.splice(0)) place(connection)
    },
    remove(id) {
      const member = members.get(id)
      if (!member) return
      member.removed = true
      if (member.sent.length === 0) members.delete(id)
      for (const connection of member.queue.splice(0)) place(connection)
    },
    took(id, count) {
      const member = members.get(id)
      if (!member) return
      member.sent.splice(0, count).forEach(release)
      if (!member.removed) pump(member)
      else if (member.sent.length === 0) members.delete(id)
    },
    dead(id) {
      const member = members.get(id)
      if (!member) return
      members.delete(id)
      if (!closed) rescued += member.sent.length
      for (const connection of [...member.sent, ...member.queue]) place(connection)
    },
    close() {
      const queues = [homeless, ...[...members.values()].map(({ queue }) => queue)]
      closed = true
      queues.flatMap((queue) => queue.splice(0)).forEach(release)
    },
  }
}
