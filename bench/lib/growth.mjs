/**
 * What the chart of a comparison shows whose contenders are sizes: a line for each metric over the sizes.
 *
 * @param points contender -> where it is on the x axis
 */
export function growthOf(result, { points, xLabel, sentence }) {
  const series = result.metrics
    .filter(({ chart }) => chart)
    .map(({ key, label }) => ({
      name: label,
      points: Object.entries(points).map(([name, at]) => ({ at, value: result.contenders[name][key].median })),
    }))
  const ratio = (key, from, to) => result.contenders[to][key].median / result.contenders[from][key].median
  return { xLabel, logY: true, series, sentence: sentence(ratio, (name, key) => result.contenders[name][key].median) }
}
