/** One start of a handler, as it noted it itself. */
export interface Run {
  n: number
  tick: string
  id: string
  pid: number
  /** ms since 1970. */
  at: number
  /** What it was told of starts before this one. */
  reruns: number
}

/**
 * Looks at the runs of jobs numbered from 0: each key made one job, a handler started again only after its process had
 * ended, and was told of it.
 *
 * @param ids the ids that adding each number gave
 * @param ended when each process was sent its end, by pid
 */
export function judgeRuns(
  runs: readonly Run[],
  jobs: number,
  ids: ReadonlyMap<number, ReadonlySet<string>>,
  ended: ReadonlyMap<number, number>,
): { wrong: unknown[]; reruns: number } {
  const wrong: unknown[] = []
  let reruns = 0
  for (let n = 0; n < jobs; n++) {
    const mine = runs.filter((run) => run.n === n).sort((a, b) => a.at - b.at)
    if (new Set(mine.map(({ id }) => id)).size !== 1 || ids.get(n)?.size !== 1) wrong.push(['ids', mine])
    for (const [index, run] of mine.entries()) {
      if (index === 0) continue
      reruns++
      const before = mine[index - 1] as Run
      if (!((ended.get(before.pid) ?? Number.POSITIVE_INFINITY) <= run.at)) wrong.push(['alive', before, run])
      if (run.reruns < index) wrong.push(['not told', run])
    }
  }
  return { wrong, reruns }
}

/** The ticks of every second from the first whole one after `from` until `to`, as the jobs name them. */
export function ticksBetween(from: number, to: number): string[] {
  const due: string[] = []
  for (let tick = Math.ceil(from / 1_000) * 1_000; tick <= to; tick += 1_000) due.push(new Date(tick).toISOString())
  return due
}
