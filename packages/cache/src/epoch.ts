import { type RedisClient, isCluster } from '@fastify-scale/kit'
import type { Redis } from 'ioredis'
import { epochChannel } from './channels.ts'
import type { LogicalClock } from './clock.ts'
import type { Guard, GuardBook } from './guard.ts'
import { clearScript, epochScript } from './lua/epoch.lua.ts'
import { type RedisPort, send } from './redis-port.ts'

/**
 * The epoch: a floor under everything. Raised by `clear()`, and when a server is met whose run id was never seen: after
 * a restart or a failover, writes that Redis had acknowledged may be lost, deletes and leases among them.
 */
export class Epoch {
  private readonly port: RedisPort
  private readonly clock: LogicalClock
  private readonly key: string
  private readonly book: GuardBook
  /** Settles when the servers of the present connection were looked at; undefined before the first look. */
  private checked: Promise<void> | undefined
  private readonly watched: WeakSet<Redis> = new WeakSet()

  constructor(port: RedisPort, clock: LogicalClock, key: string, book: GuardBook) {
    this.port = port
    this.clock = clock
    this.key = key
    this.book = book
    const { client } = port
    if (isCluster(client)) {
      for (const node of client.nodes('master')) this.watch(node)
      client.on('+node', (node: Redis) => this.watch(node))
    } else this.watch(client)
  }

  /** The epoch's guard. A connection made anew is looked at first. */
  guard(): Promise<Guard> | Guard {
    if (this.checked === undefined) return this.recheck().then(() => this.guard())
    const known = this.book.get(this.key)
    if (known) return known
    return this.checked.then(() =>
      this.book.read(this.key, [], async () => [await send(this.port, (client) => client.hget(this.key, 'floor'))]),
    )
  }

  /** Invalidates everything whose load began before this call. */
  async clear(): Promise<void> {
    const now = await this.clock.tick()
    await send(this.port, (client) => clearScript(client, [this.key], [now])).finally(() => this.book.drop(this.key))
  }

  /** Looks at the servers' run ids, and begins a new epoch where one is new. */
  private recheck(): Promise<void> {
    const check = this.look()
    this.checked = check
    check.catch(() => {
      if (this.checked === check) this.checked = undefined
    })
    return check
  }

  private async look(): Promise<void> {
    const ids = await send(this.port, (client) => Promise.all(mastersOf(client).map(runId)))
    const now = await this.clock.tick()
    const [, began] = (await send(this.port, (client) =>
      epochScript(client, [this.key], [now, ...ids.filter((id) => id !== undefined)]),
    )) as [string, number]
    if (began !== 1) return
    this.book.drop(this.key)
    epochChannel.publish(() => ({ reason: 'a server that was not known' }))
  }

  private watch(node: Redis | RedisClient): void {
    if (this.watched.has(node as Redis)) return
    this.watched.add(node as Redis)
    ;(node as Redis).on('ready', () => {
      this.checked = undefined
      this.book.drop(this.key)
    })
  }
}

/** The server, or the masters of a Cluster. */
export function mastersOf(client: RedisClient): Redis[] {
  return isCluster(client) ? client.nodes('master') : [client]
}

/** A server that does not tell counts as known: there is nothing to go by. */
async function runId(node: Redis): Promise<string | undefined> {
  try {
    return /^run_id:(\w+)/m.exec(await node.info('server'))?.[1]
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError' && /NOPERM|unknown command/i.test(error.message)) return
    throw error
  }
}
