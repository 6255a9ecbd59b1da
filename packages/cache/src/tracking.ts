import { type RedisClient, isCluster, withDeadline } from '@fastify-scale/kit'
import type { Redis, RedisOptions } from 'ioredis'
import { trackingChannel } from './channels.ts'

const CHANNEL = '__redis__:invalidate'

/** What connections of this kind override: ioredis drops RESP3's invalidation pushes, and re-arming is ours to do. */
export const TRACKING_OVERRIDES: RedisOptions = {
  protocol: 2,
  autoResubscribe: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: undefined,
  socketTimeout: undefined,
}

export interface TrackingOptions {
  /** The command connection; on a Redis Cluster it knows the masters. */
  client: RedisClient
  /** The dedicated connection to the one server; not used on a Cluster. */
  follower: Redis | undefined
  /** Keys that begin like these are followed; none begins like another. */
  prefixes: readonly string[]
  /** How often each link must prove that it lives, and how long it may take, in ms. Default 500. */
  heartbeat?: number
  /** A key was changed, deleted, evicted, or ran out. `undefined`: all were. */
  onChange: (key: string | undefined) => void
  /** All links are up (true), or one is not (false). */
  onTrust: (trusted: boolean) => void
  /** The server refuses CLIENT TRACKING; told once. */
  onRefused: (reason: string) => void
}

/**
 * Has Redis tell every change of our keys (CLIENT TRACKING, BCAST mode): one link to each master. Memory may be trusted
 * while all links are up and answer their heartbeats.
 */
export class Tracking {
  private readonly options: TrackingOptions
  private readonly links: Map<string, Link> = new Map()
  private readonly timer: ReturnType<typeof setInterval>
  private readonly onNode: () => void
  private trusted = false
  private refused = false
  private closed = false

  constructor(options: TrackingOptions) {
    this.options = options
    const { client, follower, heartbeat = 500 } = options
    this.onNode = () => this.follow()
    if (isCluster(client)) {
      client.on('+node', this.onNode)
      client.on('-node', this.onNode)
      this.follow()
    } else if (follower) this.links.set('', new Link(follower, options, () => this.judge()))
    this.timer = setInterval(() => {
      this.follow()
      for (const link of this.links.values()) link.beat(heartbeat)
    }, heartbeat)
    this.timer.unref()
  }

  close(): void {
    this.closed = true
    clearInterval(this.timer)
    const { client } = this.options
    client.off('+node', this.onNode)
    client.off('-node', this.onNode)
    for (const link of this.links.values()) link.close(isCluster(client))
    this.links.clear()
    this.judge()
  }

  /** On a Cluster: a link for each master, and none for what is not one any more. */
  private follow(): void {
    const { client } = this.options
    if (!isCluster(client) || this.closed) return
    const masters = new Map(client.nodes('master').map((node) => [`${node.options.host}:${node.options.port}`, node]))
    for (const [name, link] of this.links) {
      if (masters.has(name)) continue
      link.close(true)
      this.links.delete(name)
    }
    for (const [name, node] of masters) {
      if (this.links.has(name)) continue
      const own = node.duplicate({ ...TRACKING_OVERRIDES, lazyConnect: true, readOnly: false, retryStrategy: retry })
      own.on('error', () => undefined)
      this.links.set(name, new Link(own, this.options, () => this.judge()))
      own.connect().catch(() => undefined)
    }
    this.judge()
  }

  private judge(): void {
    const all = [...this.links.values()]
    const trusted = !this.closed && all.length > 0 && all.every((link) => link.armed)
    const refusal = all.find((link) => link.refusal !== undefined)?.refusal
    if (refusal !== undefined && !this.refused) {
      this.refused = true
      this.options.onRefused(refusal)
    }
    if (trusted === this.trusted) return
    this.trusted = trusted
    this.options.onTrust(trusted)
    trackingChannel.publish(() => ({
      armed: trusted,
      reason: trusted ? undefined : (refusal ?? all.find((link) => link.reason !== undefined)?.reason),
    }))
  }
}

/** One connection to one server. */
class Link {
  armed = false
  /** Why it is not armed. */
  reason: string | undefined
  /** Set where the server refused; tried again with the next connection. */
  refusal: string | undefined
  private readonly client: Redis
  private readonly options: TrackingOptions
  private readonly changed: () => void
  private beating = false

  constructor(client: Redis, options: TrackingOptions, changed: () => void) {
    this.client = client
    this.options = options
    this.changed = changed
    client.on('ready', this.onReady)
    client.on('close', this.onDown)
    client.on('end', this.onDown)
    client.on('messageBuffer', this.onMessage)
    if (client.status === 'ready') this.onReady()
  }

  /** Proves that the link lives: what Redis sent before its answer has been received. */
  beat(allowed: number): void {
    if (!this.armed || this.beating) return
    this.beating = true
    withDeadline(this.client.ping(), allowed, 'heartbeat')
      .catch((error: unknown) => this.fail(error))
      .finally(() => (this.beating = false))
  }

  close(disconnect: boolean): void {
    this.client.off('ready', this.onReady)
    this.client.off('close', this.onDown)
    this.client.off('end', this.onDown)
    this.client.off('messageBuffer', this.onMessage)
    this.armed = false
    if (disconnect) this.client.disconnect()
  }

  private readonly onReady = (): void => {
    this.arm().catch((error: unknown) => {
      if (error instanceof Error && error.name === 'ReplyError') {
        this.refusal = error.message
        this.changed()
      } else this.fail(error)
    })
  }

  private readonly onDown = (): void => {
    this.armed = false
    this.reason ??= 'connection lost'
    this.changed()
  }

  private readonly onMessage = (channel: Buffer, keys: Buffer[] | Buffer | null): void => {
    if (channel.toString() !== CHANNEL) return
    if (keys === null) this.options.onChange(undefined)
    else if (Array.isArray(keys)) for (const key of keys) this.options.onChange(key.toString())
    else this.options.onChange(keys.toString())
  }

  private async arm(): Promise<void> {
    const { client } = this
    // The end of the stream is seen turns of the event loop before 'close' is emitted.
    client.stream.once('end', this.onDown)
    client.stream.once('error', this.onDown)
    const prefixes = this.options.prefixes.flatMap((prefix) => ['PREFIX', prefix])
    await withDeadline(
      (async () => {
        const id = await client.client('ID')
        await client.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id), 'BCAST', ...prefixes)
        await client.subscribe(CHANNEL)
      })(),
      2_000,
      'CLIENT TRACKING',
    )
    if (client.status !== 'ready' || client.stream.readableEnded) return
    this.armed = true
    this.reason = undefined
    this.refusal = undefined
    this.changed()
  }

  private fail(error: unknown): void {
    this.armed = false
    this.reason = error instanceof Error ? error.message : String(error)
    this.changed()
    if (this.client.status === 'ready') this.client.disconnect(true)
  }
}

function retry(attempt: number): number {
  return Math.min(500, 50 * attempt)
}
