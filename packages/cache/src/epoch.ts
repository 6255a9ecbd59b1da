import { epochChannel } from './channels.ts'
import type { LogicalClock } from './clock.ts'
import type { Guard, GuardBook } from './guard.ts'
import { meetScript, raiseScript } from './lua/epoch.lua.ts'
import type { Master } from './masters.ts'
import { Reading } from './reading.ts'
import { type RedisPort, send, sendAlong, sendPatiently, sendTo } from './redis-port.ts'

/**
 * The epoch: a floor under everything. Raised by `clear()`, and when a server is met whose run id was never seen: after
 * a restart or a failover, writes that Redis had acknowledged may be lost, deletes and leases among them.
 *
 * On a Redis Cluster there are several copies: any one is read, all are raised before that is acknowledged.
 */
export class Epoch {
  private readonly port: RedisPort
  private readonly clock: LogicalClock
  private readonly copies: readonly string[]
  private readonly book: GuardBook
  private readonly meetings: Map<Master, Promise<void>> = new Map()

  constructor(port: RedisPort, clock: LogicalClock, copies: readonly string[], book: GuardBook) {
    this.port = port
    this.clock = clock
    this.copies = copies
    this.book = book
  }

  /** The epoch's guard, for what lives on the master of this key. */
  guard(key: string): Promise<Guard> | Guard {
    const found = this.ask(key)
    if (found === undefined) return this.meetBoth(key).then(() => this.guard(key))
    return found instanceof Reading ? (found.guard ?? found.done) : found
  }

  /**
   * The guard, or a reading that is on its way from now on; undefined where a master must be met before.
   *
   * @param along the value under the key is asked for in the same turn
   */
  ask(key: string, along = false): Guard | Reading | undefined {
    const { masters } = this.port
    const home = masters.of(key)
    const copy = masters.nearest(this.copies, home)
    const master = masters.of(copy)
    if (!master.known || !home.known) return undefined
    const known = this.book.get(copy)
    if (known) return known
    // Nobody who waits for less joins a patient reading.
    if (this.port.patient) return new Reading(this.fetch(copy, false))
    return master.join(copy, () => this.fetch(copy, along && master === home))
  }

  /**
   * Makes sure that a master is known: one that never was seen begins a new epoch. Each new connection is looked at. The
   * others that are to be met are met along with it: epochs that begin one after another would void what was just loaded.
   */
  async meet(master: Master): Promise<void> {
    if (master.known) return
    const others = this.port.masters.all().filter((other) => other !== master && !other.known && !other.breaker.open)
    const [own] = await Promise.allSettled([master, ...others].map((one) => this.meetOne(one)))
    if (own?.status === 'rejected') throw own.reason
  }

  private meetOne(master: Master): Promise<void> {
    let meeting = this.meetings.get(master)
    if (!meeting) {
      meeting = this.look(master).finally(() => this.meetings.delete(master))
      this.meetings.set(master, meeting)
    }
    return meeting
  }

  /** Invalidates everything whose load began before this call. */
  async clear(): Promise<void> {
    await this.raise(await this.clock.tick(sendPatiently), sendPatiently)
  }

  private async look(master: Master): Promise<void> {
    const { node } = master
    const id = await sendTo(this.port, master, runId)
    if (id !== undefined) {
      const copy = this.port.masters.nearest(this.copies, master)
      if ((await send(this.port, copy, (client) => client.hexists(copy, `k:${id}`))) === 0) await this.begin(id)
    }
    this.forget()
    // Not where the connection was made anew meanwhile.
    if (node === master.node && node?.status === 'ready') master.known = true
  }

  private async begin(id: string): Promise<void> {
    const { copies, port } = this
    const [first = ''] = copies
    const now = await this.clock.tick()
    const [floor, decided] = (await send(port, first, (client) => meetScript(client, [first], [now, id]))) as [
      string,
      number,
    ]
    // Marked as known where every copy has the floor, and not before: each copy is read alone.
    await this.raise(Number(floor))
    await Promise.all(copies.map((copy) => send(port, copy, (client) => client.hset(copy, `k:${id}`, '1'))))
    if (decided === 1) epochChannel.publish(() => ({ reason: 'a server that was not known' }))
  }

  private async raise(floor: number, by: typeof send = send): Promise<void> {
    await Promise.all(
      this.copies.map((copy) =>
        by(this.port, copy, (client) => raiseScript(client, [copy], [floor])).finally(() => this.book.drop(copy)),
      ),
    )
  }

  private async meetBoth(key: string): Promise<void> {
    const { masters } = this.port
    const home = masters.of(key)
    await Promise.all([this.meet(home), this.meet(masters.of(masters.nearest(this.copies, home)))])
  }

  /** Reads a copy; one that is gone (evicted, flushed) begins anew. */
  private fetch(copy: string, along: boolean): Promise<Guard> {
    return this.readFloor(copy, along ? sendAlong : send).then((guard) =>
      guard.floor === undefined ? this.renew(copy) : guard,
    )
  }

  private async renew(copy: string): Promise<Guard> {
    const now = await this.clock.tick()
    await send(this.port, copy, (client) => client.hsetnx(copy, 'floor', String(now))).finally(() =>
      this.book.drop(copy),
    )
    return this.readFloor(copy, send)
  }

  private readFloor(copy: string, by: typeof send): Promise<Guard> {
    return this.book.read(copy, [], () => by(this.port, copy, (client) => client.hmget(copy, 'floor')))
  }

  private forget(): void {
    for (const copy of this.copies) this.book.doubt(copy)
  }
}

/** A server that does not tell counts as known: there is nothing to go by. */
async function runId(node: { info(section: string): Promise<string> }): Promise<string | undefined> {
  try {
    return /^run_id:(\w+)/m.exec(await node.info('server'))?.[1]
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError' && /NOPERM|unknown command/i.test(error.message)) return
    throw error
  }
}
