import {
  type RedisClient,
  type StreamEntry,
  type StreamFollower,
  backoff,
  followStream,
  oneLine,
  pause,
} from '@fastify-scale/kit'
import { AuthUnavailableError } from './errors.ts'
import { publishScript } from './lua/publish.lua.ts'
import type { RevocationEntry, Revocations } from './revocation.ts'

export interface RevocationStreamOptions {
  /** For writing. */
  command: RedisClient
  /** For reading, of the follower kind; this stream's alone. */
  follower: RedisClient
  key: string
  revocations: Revocations
  /** How long an entry can matter, in ms. */
  lifetime: number
  /** How long one idle read waits, in ms. */
  blockMs: number
  /** How long the server may take beyond that, in ms. */
  graceMs: number
  /** Called for each entry that was not known. */
  onEntry: (entry: RevocationEntry) => void
  onError: (error: Error) => void
  onDiscontinuity: () => void
}

/** Carries revocations to every process, and loses none over a broken connection. */
export interface RevocationStream {
  /** Resolves when Redis has the entries; they hold here at once. @throws SCALE_AUTH_UNAVAILABLE */
  publish(...entries: RevocationEntry[]): Promise<void>
  readonly loaded: Promise<void>
  staleness(): number
  close(): Promise<void>
}

const CHUNK = 500

export function openRevocationStream(options: RevocationStreamOptions): RevocationStream {
  const { command, key, revocations, lifetime, blockMs, graceMs } = options
  const stop = new AbortController()
  /** Entries seen since the stream was last read from its beginning; set only while some may have to be published again. */
  let seen: Set<string> | undefined
  let restoring = Promise.resolve()

  function onEntry({ id, fields }: StreamEntry): void {
    const entry = readEntry(fields)
    if (!entry) return
    seen?.add(nameOf(entry))
    revocations.add(entry, Number(fields['made'] || Number(id.split('-')[0]) / 1_000))
    options.onEntry(entry)
  }

  async function write(entries: { entry: RevocationEntry; at?: number }[]): Promise<number> {
    const args = entries.flatMap(({ entry, at }) => [
      entry.kind,
      'id' in entry ? entry.id : '',
      'at' in entry ? entry.at : '',
      at ?? '',
    ])
    return Number(await publishScript(command, [key], [lifetime, ...args]))
  }

  /**
   * The stream was deleted or made anew: what it held is known to the processes that read it, and to no new one. Each
   * publishes what the others have not, after a moment of its own, so that one does nearly all of it.
   */
  async function restore(): Promise<void> {
    const mine = seen
    for (let attempt = 1; !stop.signal.aborted; attempt++) {
      await pause(backoff(attempt, 200, 2_000), stop.signal)
      if (stop.signal.aborted) return
      const missing = revocations.entries().filter(({ entry }) => !seen?.has(nameOf(entry)))
      try {
        for (let i = 0; i < missing.length; i += CHUNK) await write(missing.slice(i, i + CHUNK))
        if (seen === mine) seen = undefined
        return
      } catch (error) {
        options.onError(error as Error)
      }
    }
  }

  const stream: StreamFollower = followStream({
    client: options.follower,
    key,
    blockMs,
    graceMs,
    load: () => '0-0',
    onEntry,
    onError: options.onError,
    onDiscontinuity() {
      seen = new Set()
      options.onDiscontinuity()
      restoring = restoring.then(restore)
    },
  })

  return {
    async publish(...entries) {
      let made: number
      try {
        made = await write(entries.map((entry) => ({ entry })))
      } catch (error) {
        throw new AuthUnavailableError(oneLine(error))
      }
      for (const entry of entries) revocations.add(entry, made)
    },
    loaded: stream.caughtUp,
    staleness: () => stream.staleness(),
    async close() {
      stop.abort()
      await stream.close()
      await restoring
    },
  }
}

function readEntry({ kind, id, at }: Record<string, string>): RevocationEntry | undefined {
  if ((kind === 'jti' || kind === 'sid') && id) return { kind, id }
  const seconds = Number(at)
  if (!at || !Number.isSafeInteger(seconds)) return undefined
  if (kind === 'sub' && id) return { kind, id, at: seconds }
  return kind === 'all' ? { kind, at: seconds } : undefined
}

/** An entry as text; a later cut-off of the same subject is another one. */
function nameOf(entry: RevocationEntry): string {
  return `${entry.kind} ${'at' in entry ? entry.at : ''} ${'id' in entry ? entry.id : ''}`
}
