import { tickScript } from './lua/tick.lua.ts'
import { type RedisPort, send } from './redis-port.ts'

/**
 * The logical clock of all invalidations, kept in Redis (Lamport's happened-before, with the server's time as its base):
 * an invalidation takes a new reading, a load the last one. What was loaded at a reading below an invalidation's may not
 * know of it.
 *
 * On a Redis Cluster there are several copies: any one is read, all are advanced. So a load needs one master that is
 * well, and an invalidation, which must be above whatever any of them has told, needs all.
 */
export class LogicalClock {
  private readonly port: RedisPort
  private readonly copies: readonly string[]

  constructor(port: RedisPort, copies: readonly string[]) {
    this.port = port
    this.copies = copies
  }

  /**
   * The reading now; a copy that is not there (evicted, flushed) is started anew.
   *
   * @param key what the reading is for: the copy on its master is asked
   */
  async read(key: string): Promise<number> {
    const copy = this.port.masters.nearest(this.copies, this.port.masters.of(key))
    const text = await send(this.port, copy, (client) => client.get(copy))
    return text === null ? this.advance(copy, 0) : Number(text)
  }

  /** A new reading, above every one before. */
  async tick(by: typeof send = send): Promise<number> {
    const readings = await Promise.all(this.copies.map((copy) => this.advance(copy, 0, by)))
    const now = Math.max(...readings)
    // A copy that lags would only make loads look older than they are.
    await Promise.allSettled(
      this.copies.filter((_, i) => readings[i] !== now).map((copy) => this.advance(copy, now, by)),
    )
    return now
  }

  private async advance(copy: string, least: number, by: typeof send = send): Promise<number> {
    return Number(await by(this.port, copy, (client) => tickScript(client, [copy], [least])))
  }
}
