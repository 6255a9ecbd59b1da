import { epochChannel } from './channels.ts'
import type { LogicalClock } from './clock.ts'
import type { Guard, GuardBook } from './guard.ts'
import { meetScript, raiseScript } from './lua/epoch.lua.ts'
import type { Master } from './masters.ts'
import { type RedisPort, send, sendTo } from './redis-port.ts'

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
  private readonly scheduled: Map<string, Promise<Guard>> = new Map()

  constructor(port: RedisPort, clock: LogicalClock, copies: readonly string[], book: GuardBook) {
    this.port = port
    this.clock = clock
    this.copies = copies
    this.book = book
  }

  /** The epoch's guard, for what lives on the master of this key. */
  guard(key: string): Promise<Guard> | Guard {
    const { masters } = this.port
    const copy = masters.nearest(this.copies, key)
    const [home, master] = [masters.of(key), masters.of(copy)]
    if (home.known && master.known) return this.book.get(copy) ?? this.read(copy)
    return Promise.all([this.meet(home), this.meet(master)]).then(() => this.guard(key))
  }

  /** Makes sure that a master is known: one that never was seen begins a new epoch. Each new connection is looked at. */
  meet(master: Master): Promise<void> {
    if (master.known) return Promise.resolve()
    let meeting = this.meetings.get(master)
    if (!meeting) {
      meeting = this.look(master).finally(() => this.meetings.delete(master))
      this.meetings.set(master, meeting)
    }
    return meeting
  }

  /** Invalidates everything whose load began before this call. */
  async clear(): Promise<void> {
    await this.raise(await this.clock.tick())
  }

  private async look(master: Master): Promise<void> {
    const { node } = master
    const id = await sendTo(this.port, master, runId)
    if (id !== undefined) {
      const copy = this.port.masters.nearest(this.copies, this.copies[0] ?? '')
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

  private async raise(floor: number): Promise<void> {
    await Promise.all(
      this.copies.map((copy) =>
        send(this.port, copy, (client) => raiseScript(client, [copy], [floor])).finally(() => this.book.drop(copy)),
      ),
    )
  }

  /** Reads a copy; one that is gone (evicted, flushed) begins anew. Those who ask in one turn share the reading. */
  private read(copy: string): Promise<Guard> {
    let reading = this.scheduled.get(copy)
    if (!reading) {
      reading = new Promise<void>((resolve) => process.nextTick(resolve)).then(() => {
        this.scheduled.delete(copy)
        return this.fetch(copy)
      })
      this.scheduled.set(copy, reading)
    }
    return reading
  }

  private async fetch(copy: string): Promise<Guard> {
    const floor = (): Promise<string | null> => send(this.port, copy, (client) => client.hget(copy, 'floor'))
    const guard = await this.book.read(copy, [], async () => [await floor()])
    if (guard.floor !== undefined) return guard
    const now = await this.clock.tick()
    await send(this.port, copy, (client) => client.hsetnx(copy, 'floor', String(now))).finally(() =>
      this.book.drop(copy),
    )
    return this.book.read(copy, [], async () => [await floor()])
  }

  private forget(): void {
    for (const copy of this.copies) this.book.drop(copy)
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
