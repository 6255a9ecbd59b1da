import { type RedisPort, send } from './redis-port.ts'
import { tickScript } from './lua/tick.lua.ts'

/**
 * The logical clock of all invalidations, kept in one key of Redis (Lamport's happened-before, with the server's time as
 * its base): an invalidation takes a new reading, a load the last one. What was loaded at a reading below an
 * invalidation's may not know of it.
 */
export class LogicalClock {
  private readonly port: RedisPort
  private readonly key: string

  constructor(port: RedisPort, key: string) {
    this.port = port
    this.key = key
  }

  /** The reading now; a clock that is not there (evicted, flushed) is started beyond where it was. */
  async read(): Promise<number> {
    const text = await send(this.port, (client) => client.get(this.key))
    return text === null ? this.tick() : Number(text)
  }

  /** A new reading, above every one before. */
  async tick(): Promise<number> {
    return Number(await send(this.port, (client) => tickScript(client, [this.key], [])))
  }
}
