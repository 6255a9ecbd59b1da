import type { Peer } from './bus.ts'

/** A value as it travels and is kept: the JSON text, when its load ended, and the fencing number it was loaded under. */
export interface SharedEnvelope {
  name: string
  json: string
  at: number
  fencing: number
  /** The last requests for a load that this value, or one before it, was loaded after. */
  served?: string[]
}

/** No call waits longer for a load, in ms, whatever bound its worker has. */
const LONGEST_LOAD = 3_600_000

/** The primary's side: keeps the last value of each name and passes new ones to all workers. */
export interface SharedRelay {
  attach(peer: Peer): void
}

export function createSharedRelay(
  everyone: () => Iterable<Peer>,
  holderOf: (singleton: string) => Peer | undefined,
): SharedRelay {
  const values = new Map<string, SharedEnvelope>()
  return {
    attach(peer) {
      peer.onNote('shared.value', (data) => {
        if (!isEnvelope(data) || !isNewer(data, values.get(data.name))) return
        values.set(data.name, data)
        for (const other of everyone()) if (other !== peer) other.note('shared.value', data)
      })
      peer.onNote('shared.error', (data) => {
        for (const other of everyone()) if (other !== peer) other.note('shared.error', data)
      })
      peer.onCall('shared.get', (data) => values.get(String((data as { name?: unknown } | null)?.name)) ?? null)
      peer.onCall('shared.refresh', async (data) => {
        const name = String((data as { name?: unknown } | null)?.name)
        const holder = holderOf(`shared:${name}`)
        // The worker that asks has the bound.
        return holder ? holder.call('shared.load', { name }, LONGEST_LOAD) : null
      })
    },
  }
}

/** Values of a later tenure, and later ones of the same, replace what is there. */
export function isNewer(
  candidate: Pick<SharedEnvelope, 'at' | 'fencing'>,
  current: SharedEnvelope | undefined,
): boolean {
  if (!current || candidate.fencing !== current.fencing) return !current || candidate.fencing > current.fencing
  return candidate.at > current.at
}

export function isEnvelope(data: unknown): data is SharedEnvelope {
  const { name, json, at, fencing } = (data ?? {}) as Partial<SharedEnvelope>
  return typeof name === 'string' && typeof json === 'string' && typeof at === 'number' && typeof fencing === 'number'
}
