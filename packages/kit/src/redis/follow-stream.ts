import { isDeepStrictEqual } from 'node:util'
import type { Redis } from 'ioredis'
import { backoff, pause, withDeadline } from '../timing.ts'
import { end, reconnect, untilReady } from './connections.ts'
import type { RedisClient } from './source.ts'

/** One entry of a stream: its id and its fields. */
export interface StreamEntry {
  id: string
  fields: Record<string, string>
}

export interface FollowOptions {
  /** A connection of the follower kind, for this stream alone: it spends its life in blocking reads. */
  client: RedisClient
  /** The stream's key. */
  key: string
  /**
   * Loads what the stream's entries build upon and returns the id to read after: `'0-0'` for the whole stream, or the
   * id that a snapshot was taken at. Called at the start, and again after a discontinuity. `client` is ready for commands.
   * Rejecting is a failed attempt, made again with back-off.
   */
  load: (client: RedisClient) => Promise<string> | string
  /** Called for each entry, in order, once per entry and load. */
  onEntry: (entry: StreamEntry) => void
  /**
   * Called when the stream that was followed is not there any more as it was: deleted, made anew, or trimmed past our
   * position, so that entries may be missing. `load` follows.
   */
  onDiscontinuity?: () => void
  /** Called with each failed attempt, for a log or a channel. Following goes on. */
  onError?: (error: Error) => void
  /** How long one blocking read may wait, in ms; also how often proof of life comes when idle. Default 1,000. */
  blockMs?: number
  /**
   * How long the server may take beyond that before the connection is given up, in ms. Default 1,000. An idle Redis looks
   * at its timeouts every 100 ms, so that less than 200 gives up connections that are well.
   */
  graceMs?: number
  /** Monotonic clock in ms. Default `performance.now`. */
  now?: () => number
}

export interface StreamFollower {
  /** Resolves when the stream was first read to its end. Never rejects; stays pending while Redis is away. */
  readonly caughtUp: Promise<void>
  /** The id of the last entry seen. */
  readonly position: string
  /**
   * How old our knowledge may be, in ms: the time since the last moment at which nothing was missing, as a read and a look
   * at the stream after it have shown. `Infinity` before the first catch-up. Idle and healthy it stays below blockMs and two
   * round trips.
   */
  staleness(): number
  /** Stops following and ends the connection. */
  close(): Promise<void>
}

/** A place in the stream: an entry's id and, where it is known, what the entry holds. */
interface Place {
  id: string
  content?: string[]
}

const PAGE = 1_000

/**
 * Follows a Redis stream for ever: pages in what is there, then waits for more; reconnects, notices a recreated or
 * trimmed stream (the entry at our position is gone), and notices a stalled server (a watchdog per read: a blocking read
 * on a stalled server looks like an idle one).
 *
 * Unlike pub/sub it loses nothing over a broken connection.
 */
export function followStream(options: FollowOptions): StreamFollower {
  const {
    key,
    onEntry,
    onDiscontinuity,
    onError,
    blockMs = 1_000,
    graceMs = 1_000,
    now = () => performance.now(),
  } = options
  const client = options.client as Redis
  const stop = new AbortController()
  let position: Place | undefined
  // What the last read began after. Looked for after every read: the stream may have been made anew, or trimmed past us,
  // while the read waited or on the way to it, and what it gave then looks like any other entries.
  let anchor: Place | undefined
  let provenAt: number | undefined
  let resolveCaughtUp: () => void
  const caughtUp = new Promise<void>((resolve) => (resolveCaughtUp = resolve))

  /** A read that the server must answer in time; if not, the connection is given up and made anew. */
  async function proven<T>(read: () => Promise<T>, allowed: number): Promise<T> {
    try {
      return await withDeadline(read(), allowed, `reading stream '${key}'`)
    } catch (error) {
      if (!stop.signal.aborted && client.status === 'ready') reconnect(client)
      throw error
    }
  }

  /**
   * While the entry that we read after is there, nothing behind it was trimmed, and the stream is the same. A new stream may
   * have the same id, of the same millisecond.
   */
  async function isContinuous(at: Place): Promise<boolean> {
    if (at.id === '0-0') return true
    const [found] = await proven(() => client.xrange(key, at.id, at.id), graceMs)
    if (!found) return false
    at.content ??= found[1]
    return isDeepStrictEqual(found[1], at.content)
  }

  async function read(after: string, block: number | undefined): Promise<Required<Place>[]> {
    const reply = await proven(
      () =>
        block === undefined
          ? client.xread('COUNT', PAGE, 'STREAMS', key, after)
          : client.xread('COUNT', PAGE, 'BLOCK', block, 'STREAMS', key, after),
      graceMs + (block ?? 0),
    )
    const entries = (reply?.[0]?.[1] ?? []) as [id: string, content: string[]][]
    return entries.map(([id, content]) => ({ id, content }))
  }

  function deliver(entries: Required<Place>[]): void {
    for (const entry of entries) {
      if (stop.signal.aborted) return
      position = entry
      try {
        onEntry({ id: entry.id, fields: toFields(entry.content) })
      } catch (error) {
        // One bad entry must not stop the ones behind it.
        onError?.(toError(error))
      }
    }
  }

  /** One connection's life: reads until something fails. */
  async function follow(): Promise<void> {
    // Nothing to anchor to: what was written and trimmed while we were away would be missed, so begin again.
    if (position?.id === '0-0') position = undefined
    // When the last read showed the end of the stream; undefined where there may be more.
    let endAt: number | undefined
    for (;;) {
      if (anchor !== undefined && !(await isContinuous(anchor))) {
        position = anchor = undefined
        onDiscontinuity?.()
      }
      if (position === undefined) {
        // What load() needs is bounded by the commands' own answers; the watchdog covers a server that stalls meanwhile.
        position = { id: await proven(async () => options.load(client), graceMs * 10) }
        endAt = undefined
      } else if (endAt !== undefined) {
        provenAt = endAt
        resolveCaughtUp()
      }
      const sentAt = now()
      anchor = position
      const entries = await read(position.id, endAt === undefined ? undefined : blockMs)
      if (stop.signal.aborted) return
      // An answer without entries was at the end when it came, a short page when it was asked for.
      if (entries.length === 0) endAt = now()
      else endAt = entries.length < PAGE ? sentAt : undefined
      deliver(entries)
    }
  }

  async function run(): Promise<void> {
    let provenBefore: number | undefined
    for (let attempt = 1; !stop.signal.aborted; attempt++) {
      try {
        await untilReady(client, undefined, stop.signal)
        await follow()
      } catch (error) {
        if (stop.signal.aborted) return
        // It worked meanwhile: this failure is the first of its kind.
        if (provenAt !== provenBefore) attempt = 1
        provenBefore = provenAt
        onError?.(toError(error))
        await pause(backoff(attempt), stop.signal)
      }
    }
  }

  const running = run()
  return {
    caughtUp,
    get position() {
      return position?.id ?? '0-0'
    },
    staleness: () => (provenAt === undefined ? Number.POSITIVE_INFINITY : now() - provenAt),
    async close() {
      stop.abort()
      await Promise.all([end(client), running])
    },
  }
}

function toFields(flat: string[]): Record<string, string> {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>
  for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] as string] = flat[i + 1] as string
  return fields
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
