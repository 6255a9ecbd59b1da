import type { NativeHandle } from './listener.ts'

/** A worker, as far as connections go. */
export interface Target {
  readonly id: number
  readonly slot: number
  /** Sends one connection; false where the channel is gone. */
  take(connection: Connection): boolean
}

/** A connection on its way to a worker. */
export interface Connection {
  readonly handle: NativeHandle
  /** Kept alive by another worker before. */
  readonly idle: boolean
  /** What was read from it already, base64. */
  readonly head?: string | undefined
  /** Called when a worker has taken it over, or nobody will. */
  readonly taken?: () => void
}

interface Member {
  target: Target
  /** Sent and not yet taken over; our copy of the descriptor stays open until then. */
  sent: Connection[]
  /** Sent no more; known until what it was sent is taken over. */
  removed: boolean
}

/** Gives connections to workers in turn, and to another where a worker dies before it took one. */
export interface Dispatcher {
  /** How many wait for a free worker. */
  readonly waiting: number
  /** How many connections were given to another worker because the first one died. */
  readonly rescued: number
  /** Takes in a connection. */
  accept(connection: Connection): void
  /** This worker is sent connections from now on. */
  add(target: Target): void
  /** It is sent no more; what was sent before is still its own. */
  remove(id: number): void
  /** The worker took over `count` connections, in the order they were sent. */
  took(id: number, count: number): void
  /** The worker is dead: what it had not taken over goes to others. */
  dead(id: number): void
  /** Keeps nobody waiting from now on: closes what waits, what comes in, and what a dead worker had not taken over. */
  close(): void
}

/** Ends our part in a connection: a worker has it, or nobody will. */
export function release({ handle, taken }: Connection): void {
  handle.close()
  taken?.()
}

/**
 * How many connections a worker is sent ahead of its taking them over. With one, primary and worker wait for each other,
 * which costs a fifth more CPU for connections of one request; more than two saves nothing.
 */
export const AHEAD = 2

/**
 * Round robin among the workers that are free. A worker is free while it has taken over all but one of what it was sent,
 * so one whose event loop is busy gets fewer, and one that hangs gets two at most.
 */
export function createDispatcher(): Dispatcher {
  const members = new Map<number, Member>()
  const free = new Map<number, Member>()
  const queue: Connection[] = []
  let rescued = 0
  let closed = false

  function pump(): void {
    if (closed) return queue.splice(0).forEach(release)
    while (queue.length > 0) {
      const next = free.entries().next()
      if (next.done) return
      const [id, member] = next.value
      free.delete(id)
      const connection = queue.shift() as Connection
      if (!member.target.take(connection)) {
        // Its channel is gone and its exit will be heard of: it is not free again.
        queue.unshift(connection)
        continue
      }
      member.sent.push(connection)
      // Behind the others: they come first.
      if (member.sent.length < AHEAD) free.set(id, member)
    }
  }

  return {
    get waiting() {
      return queue.length
    },
    get rescued() {
      return rescued
    },
    accept(connection) {
      queue.push(connection)
      pump()
    },
    add(target) {
      const member = members.get(target.id) ?? { target, sent: [], removed: false }
      member.removed = false
      members.set(target.id, member)
      // One that comes back may still have something to take over.
      if (member.sent.length < AHEAD) free.set(target.id, member)
      pump()
    },
    remove(id) {
      free.delete(id)
      const member = members.get(id)
      if (member && member.sent.length === 0) members.delete(id)
      else if (member) member.removed = true
    },
    took(id, count) {
      const member = members.get(id)
      if (!member) return
      member.sent.splice(0, count).forEach(release)
      if (member.removed) {
        if (member.sent.length === 0) members.delete(id)
      } else if (member.sent.length < AHEAD) {
        free.set(id, member)
        pump()
      }
    },
    dead(id) {
      free.delete(id)
      const member = members.get(id)
      if (!member) return
      members.delete(id)
      if (!closed) rescued += member.sent.length
      // They came before those that wait.
      queue.unshift(...member.sent)
      pump()
    },
    close() {
      closed = true
      pump()
    },
  }
}
