import { randomBytes } from 'node:crypto'
import { acquireScript } from './lua/acquire.lua.ts'
import { fillScript } from './lua/fill.lua.ts'
import { holdScript } from './lua/hold.lua.ts'
import { type RedisPort, send } from './redis-port.ts'

/** What a miss ends in: somebody's value, the lease, or somebody else's lease with the ms it has left. */
export type Acquired = { type: 'value'; raw: Buffer } | { type: 'lease'; lease: Lease } | { type: 'busy'; left: number }

const EMPTY = Buffer.alloc(0)

/**
 * Asks for the lease of a key.
 *
 * @param seen the header of the entry that was judged unusable, if one was there
 */
export async function acquireLease(
  port: RedisPort,
  keys: { value: string; lease: string },
  ms: number,
  seen: Buffer | undefined,
): Promise<Acquired> {
  const token = randomBytes(12).toString('base64url')
  const acquired = send(port, keys.lease, (client) =>
    acquireScript(client, [keys.value, keys.lease], [token, ms, seen ?? EMPTY, seen ? 1 : 0]),
  ).catch((error: unknown) => {
    // What we gave up on may still be carried out. Its release follows on the same connection, so that no lease is
    // left that nobody holds.
    holdScript(port.client, [keys.lease], [token, 0]).catch(() => undefined)
    throw error
  })
  const [state, detail] = (await acquired) as [number, Buffer | number | undefined]
  if (state === 1) return { type: 'value', raw: detail as Buffer }
  if (state === 2) return { type: 'lease', lease: new Lease(port, keys, token, ms) }
  return { type: 'busy', left: Math.max(0, Number(detail)) }
}

/**
 * The right to fill a key. It is extended while it is held; a holder that dies loses it when it runs out; whoever
 * deletes the key takes it away, and what was loaded under it does not land.
 */
export class Lease {
  private readonly port: RedisPort
  private readonly keys: { value: string; lease: string }
  private readonly token: string
  private readonly ms: number
  private readonly timer: ReturnType<typeof setInterval>

  constructor(port: RedisPort, keys: { value: string; lease: string }, token: string, ms: number) {
    this.port = port
    this.keys = keys
    this.token = token
    this.ms = ms
    this.timer = setInterval(() => this.extend(), ms / 3)
    this.timer.unref()
  }

  /** Stores the entry; false where the lease was taken away or ran out. */
  async fill(entry: Buffer, ttl: number): Promise<boolean> {
    clearInterval(this.timer)
    const landed = await send(this.port, this.keys.lease, (client) =>
      fillScript(client, [this.keys.value, this.keys.lease], [this.token, entry, Math.ceil(ttl)]),
    )
    return landed === 1
  }

  /** Gives the lease up, so that another may load at once. Where Redis is away it runs out by itself. */
  release(): void {
    clearInterval(this.timer)
    send(this.port, this.keys.lease, (client) => holdScript(client, [this.keys.lease], [this.token, 0])).catch(
      () => undefined,
    )
  }

  private extend(): void {
    send(this.port, this.keys.lease, (client) => holdScript(client, [this.keys.lease], [this.token, this.ms])).then(
      (held) => {
        // Taken away: nothing to extend. The fill will tell.
        if (held === 0) clearInterval(this.timer)
      },
      () => undefined,
    )
  }
}
