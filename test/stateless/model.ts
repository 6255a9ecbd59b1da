/** What must be so, whichever worker answers: kept beside the real thing and compared with every answer. */

export interface AckedPhoto {
  id: string
  /** When its upload was acknowledged (performance.now()). */
  at: number
  /** Open pages were told, and that was acknowledged too. */
  live: boolean
}

export interface EndedSession {
  token: string
  user: string
  /** When its logout was acknowledged. */
  at: number
}

/** Collects what went wrong, with enough to find out why. */
export class Model {
  readonly photos = new Map<string, AckedPhoto>()
  readonly ended: EndedSession[] = []
  readonly violations: string[] = []
  readonly counts = {
    requests: 0,
    refused503: 0,
    broken: 0,
    uploads: 0,
    lists: 0,
    logouts: 0,
    checks: 0,
    lateRefreshes: 0,
  }

  violate(what: string): void {
    this.violations.push(what)
  }

  acked(photo: AckedPhoto): void {
    this.photos.set(photo.id, photo)
    this.counts.uploads++
  }

  /** A list that was asked for at `askedAt`: it has every photo that was acknowledged before, newest first. */
  listed(ids: string[], askedAt: number, limit: number, by: string): void {
    this.counts.lists++
    const seen = new Set(ids)
    if (seen.size !== ids.length) this.violate(`a list has a photo twice (${by})`)
    const sorted = ids.toSorted((a, b) => (BigInt(a) < BigInt(b) ? 1 : -1))
    if (sorted.join() !== ids.join()) this.violate(`a list is out of order (${by})`)
    const oldest = ids.length === limit ? BigInt(ids.at(-1) as string) : 0n
    for (const photo of this.photos.values())
      if (photo.at < askedAt && BigInt(photo.id) >= oldest && !seen.has(photo.id))
        this.violate(
          `a list asked for ${Math.round(askedAt - photo.at)} ms after photo ${photo.id} was acknowledged is without it (${by})`,
        )
  }
}

/** Numbers in an order that a seed decides, so that a failed run can be repeated (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
