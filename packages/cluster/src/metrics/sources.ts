import { withDeadline } from '@fastify-scale/kit'
import { cumulative, finiteOnly, isSnapshot, type MetricSnapshot, type MetricSource } from './snapshot.ts'

/** ms that a source may take: less than the launcher waits for all of a worker. */
const TIME = 500

/** The app's own metrics. */
export interface Sources {
  add(source: MetricSource): void
  /** What all sources say, without what is in `measured` already: under the same name it would count twice. */
  read(measured?: readonly MetricSnapshot[]): Promise<MetricSnapshot[]>
}

/**
 * `onError` hears of sources that fail or hang; they do not hold up the rest. What they counted before stays: sums must not
 * go down for it.
 */
export function createSources(onError: (error: unknown) => void): Sources {
  const sources: MetricSource[] = []
  const told = new Set<string>()
  const last = new Map<MetricSource, MetricSnapshot[]>()

  function onDropped(name: string, value: number): void {
    // Once: it may well be so at each scrape.
    if (told.has(name)) return
    told.add(name)
    onError(new RangeError(`metric '${name}' has a value that is no finite number: ${value}; it is left out`))
  }

  async function ask(source: MetricSource): Promise<MetricSnapshot[]> {
    try {
      const metrics = await withDeadline(Promise.resolve(source.getMetricsAsJSON()), TIME, 'getMetricsAsJSON()')
      if (isSnapshot(metrics)) {
        const finite = finiteOnly(metrics, onDropped)
        last.set(source, finite.flatMap(cumulative))
        return finite
      }
      onError(new TypeError('getMetricsAsJSON() must give what that of prom-client gives'))
    } catch (error) {
      onError(error)
    }
    return last.get(source) ?? []
  }

  return {
    add: (source) => void sources.push(source),
    async read(measured = []) {
      const known = new Set(measured.map(({ name }) => name))
      return (await Promise.all(sources.map(ask))).flat().filter(({ name }) => !known.has(name))
    },
  }
}
