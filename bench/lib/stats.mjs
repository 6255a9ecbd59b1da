/** Median, minimum and maximum of some numbers. */
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median, min: sorted[0], max: sorted.at(-1) }
}

/** Ratios of two contenders round by round: what the machine did to one it did to the other at nearly the same time. */
export function ratios(values, base) {
  return summary(values.map((value, round) => value / base[round]))
}
