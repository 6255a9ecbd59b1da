import { type RedisClient, type RedisClock, createRedisClock, isCluster, withDeadline } from '@fastify-scale/kit'
import type { Cluster, Redis } from 'ioredis'
import { Breaker } from './breaker.ts'
import type { Guard } from './guard.ts'
import { Reading } from './reading.ts'
import { slotOf } from './slot.ts'

/** One server that keys live on, with what this process knows of it. */
export class Master {
  /** `host:port`; empty for the one server of no Cluster. */
  readonly name: string
  readonly breaker: Breaker
  /** True once its run id was looked at on the present connection; see `Epoch`. */
  known = false
  /** Its connection, while there is one. */
  node: Redis | undefined
  private readonly clocks: WeakMap<Redis, RedisClock> = new WeakMap()
  private readonly readings: Map<string, Reading> = new Map()
  private gathering = false

  constructor(name: string, node: Redis | undefined, probe: (master: Master) => Promise<void>) {
    this.name = name
    this.node = node
    this.breaker = new Breaker({ name, probe: () => probe(this) })
  }

  /** What is sent to it in this turn goes out in one write: most of what a command costs is the call of the system. */
  gather(): void {
    if (this.gathering) return
    this.gathering = true
    const stream = this.node?.stream
    stream?.cork()
    process.nextTick(() => {
      this.gathering = false
      this.readings.clear()
      stream?.uncork()
    })
  }

  /**
   * A reading begun in this turn, or a new one: it has not left the process yet, so what it will find is not older than
   * this call. `begin` must send at once.
   */
  join(key: string, begin: () => Promise<Guard>): Reading {
    this.gather()
    let reading = this.readings.get(key)
    if (!reading) this.readings.set(key, (reading = new Reading(begin())))
    return reading
  }

  /** Tells deadlines in its TIME. */
  async deadline(ms: number): Promise<number> {
    const { node } = this
    if (!node) throw new Error('no connection')
    let clock = this.clocks.get(node)
    if (!clock) this.clocks.set(node, (clock = createRedisClock(node)))
    return clock.deadline(ms)
  }
}

/**
 * The servers: the one there is, or the masters of a Redis Cluster, each with a breaker of its own, so that one that is
 * away takes only its own keys with it.
 */
export class Masters {
  private readonly client: RedisClient
  private readonly probeTimeout: number
  private readonly onReconnect: () => void
  private readonly one: Master | undefined
  private readonly byName: Map<string, Master> = new Map()
  private readonly watched: WeakSet<Redis> = new WeakSet()

  /**
   * @param probeTimeout how long a probe of an open breaker may take, in ms
   * @param onReconnect a connection to a master was made anew: what is behind it may be another server
   */
  constructor(client: RedisClient, probeTimeout: number, onReconnect: () => void) {
    this.client = client
    this.probeTimeout = probeTimeout
    this.onReconnect = onReconnect
    if (!isCluster(client)) {
      this.one = new Master('', client, this.probe)
      this.watch(client, this.one)
      return
    }
    for (const node of client.nodes()) this.onNode(node)
    client.on('+node', this.onNode)
    client.on('-node', this.offNode)
  }

  /** The master that a key lives on. */
  of(key: string): Master {
    if (this.one) return this.one
    const { slots } = this.client as Cluster
    return this.named(slots[slotOf(key)]?.[0] ?? '')
  }

  /** Every master there is. */
  all(): Master[] {
    return this.one ? [this.one] : (this.client as Cluster).nodes('master').map((node) => this.named(nameOf(node)))
  }

  /** The one of several copies to read beside what a master has: on the same one, or else where no breaker is open. */
  nearest(copies: readonly string[], home: Master): string {
    const [first = ''] = copies
    if (this.one) return first
    let open: string | undefined
    for (const copy of copies) {
      const master = this.of(copy)
      if (master.breaker.open) continue
      if (master === home) return copy
      open ??= copy
    }
    return open ?? first
  }

  /** Ends the probing. */
  close(): void {
    this.one?.breaker.close()
    for (const master of this.byName.values()) master.breaker.close()
    this.client.off('+node', this.onNode)
    this.client.off('-node', this.offNode)
  }

  private named(name: string): Master {
    let master = this.byName.get(name)
    if (!master) this.byName.set(name, (master = new Master(name, undefined, this.probe)))
    return master
  }

  private readonly probe = async ({ node }: Master): Promise<void> => {
    try {
      if (!node) throw new Error('no connection')
      await withDeadline(node.ping(), this.probeTimeout, 'PING')
    } catch (error) {
      // Its slots may be another's by now, and it can't say so itself.
      if (isCluster(this.client)) this.client.refreshSlotsCache()
      throw error
    }
  }

  private readonly onNode = (node: Redis): void => {
    const master = this.named(nameOf(node))
    master.node = node
    this.watch(node, master)
  }

  private readonly offNode = (node: Redis): void => {
    const master = this.named(nameOf(node))
    if (master.node === node) master.node = undefined
  }

  private watch(node: Redis, master: Master): void {
    if (this.watched.has(node)) return
    this.watched.add(node)
    node.on('ready', () => {
      master.known = false
      this.onReconnect()
    })
  }
}

function nameOf(node: Redis): string {
  return `${node.options.host}:${node.options.port}`
}
