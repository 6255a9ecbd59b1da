/** When to add and to remove workers, by how busy their event loops are. */
export interface AutoscaleRules {
  /** One more when the mean utilisation is at least this ... */
  upAt: number
  /** ... for this long, in ms. */
  upAfter: number
  /** One less when the mean would still be at most this with one worker less ... */
  downAt: number
  /** ... for this long, in ms. */
  downAfter: number
}

/** Fast up, slow down: too few workers are felt at once, one too many costs a little memory. */
export const AUTOSCALE: AutoscaleRules = { upAt: 0.7, upAfter: 5_000, downAt: 0.5, downAfter: 60_000 }

export interface Autoscaler {
  /** The number of workers that there should be, given the utilisation (0 to 1) of each that serves. */
  look(utilizations: readonly number[]): number
}

export function createAutoscaler(
  range: { min: number; max: number },
  now: () => number = () => performance.now(),
  rules: AutoscaleRules = AUTOSCALE,
): Autoscaler {
  let busySince: number | undefined
  let idleSince: number | undefined
  return {
    look(utilizations) {
      const count = utilizations.length
      if (count === 0) return range.min
      const time = now()
      const sum = utilizations.reduce((total, one) => total + one, 0)
      const busy = sum / count >= rules.upAt
      const idle = count > 1 && sum / (count - 1) <= rules.downAt
      busySince = busy ? (busySince ?? time) : undefined
      idleSince = idle ? (idleSince ?? time) : undefined
      const step =
        busySince !== undefined && time - busySince >= rules.upAfter
          ? 1
          : idleSince !== undefined && time - idleSince >= rules.downAfter
            ? -1
            : 0
      // A change is given time to show before the next one.
      if (step !== 0) busySince = idleSince = undefined
      return Math.min(range.max, Math.max(range.min, count + step))
    },
  }
}
