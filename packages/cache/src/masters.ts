/// <reference path="./cluster-key-slot.d.ts" />
import { type RedisClient, type RedisClock, createRedisClock, isCluster, withDeadline } from '@fastify-scale/kit'
import calculateSlot from 'cluster-key-slot'
import type { Cluster, Redis } from 'ioredis'
import { Breaker } from './breaker.ts'

/** One server that keys live on, with what this process knows of it. */
export class Master {
  /** `host:port`; empty for the one server of no Cluster. */
  readonly name: string
  readonly breaker: Breaker
  /** True once its run id was looked at on the present connection; see `Epoch`. */
  known = false
  private readonly find: () => Redis | undefined
  private readonly clocks: WeakMap<Redis, RedisClock> = new WeakMap()

  constructor(name: string, find: () => Redis | undefined, breaker: Breaker) {
    this.name = name
    this.find = find
    this.breaker = breaker
  }

  /** Its connection, while there is one. */
  get node(): Redis | undefined {
    return this.find()
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
      this.one = this.create('', () => client)
      this.watch(client)
      return
    }
    for (const node of client.nodes('master')) this.watch(node)
    client.on('+node', this.onNode)
  }

  /** The master that a key lives on. */
  of(key: string): Master {
    if (this.one) return this.one
    const { slots } = this.client as Cluster
    return this.named(slots[calculateSlot(key)]?.[0] ?? '')
  }

  /** Every master there is. */
  all(): Master[] {
    return this.one ? [this.one] : (this.client as Cluster).nodes('master').map((node) => this.named(nameOf(node)))
  }

  /** The one of several copies to read for a key: on the same master, or else where no breaker is open. */
  nearest(copies: readonly string[], key: string): string {
    const [first = ''] = copies
    if (this.one) return first
    const home = this.of(key)
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
  }

  private named(name: string): Master {
    let master = this.byName.get(name)
    if (!master) {
      const { client } = this
      const find = (): Redis | undefined => (client as Cluster).nodes().find((node) => nameOf(node) === name)
      this.byName.set(name, (master = this.create(name, find)))
    }
    return master
  }

  private create(name: string, find: () => Redis | undefined): Master {
    const probe = async (): Promise<void> => {
      try {
        const node = find()
        if (!node) throw new Error('no connection')
        await withDeadline(node.ping(), this.probeTimeout, 'PING')
      } catch (error) {
        // Its slots may be another's by now, and it can't say so itself.
        if (isCluster(this.client)) this.client.refreshSlotsCache()
        throw error
      }
    }
    return new Master(name, find, new Breaker({ name, probe }))
  }

  private readonly onNode = (node: Redis): void => this.watch(node)

  private watch(node: Redis): void {
    if (this.watched.has(node)) return
    this.watched.add(node)
    node.on('ready', () => {
      const master = this.one ?? this.named(nameOf(node))
      master.known = false
      this.onReconnect()
    })
  }
}

function nameOf(node: Redis): string {
  return `${node.options.host}:${node.options.port}`
}
