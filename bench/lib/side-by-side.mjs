import { summary } from './stats.mjs'

/**
 * One round of contenders that are all up at once and take turns of seconds: what the machine does in a minute it does
 * to all of them alike, where rounds one after another differ by more than what is asked for. All are warm before the
 * first turn, and the order changes with each turn.
 *
 * @param contenders `{ name: async () => ({ warm(), turn(), last?(), stop() }) }`: `turn` and `last` resolve with
 * `{ key: number, failures }`. Of the turns the median counts, of failures the sum.
 * @returns `{ name: { key: number, failures } }`
 */
export async function sideBySide(contenders, { turns }) {
  const up = new Map()
  try {
    for (const [name, start] of Object.entries(contenders)) up.set(name, await start())
    for (const one of up.values()) await one.warm()
    const names = [...up.keys()]
    const taken = new Map(names.map((name) => [name, []]))
    for (let turn = 0; turn < turns; turn++)
      for (const name of turned(names, turn)) taken.get(name).push(await up.get(name).turn())
    const results = {}
    for (const [name, one] of up) {
      const { failures = 0, ...figures } = (await one.last?.()) ?? {}
      results[name] = { ...medians(taken.get(name)), ...figures }
      results[name].failures = taken.get(name).reduce((sum, turn) => sum + (turn.failures ?? 0), failures)
    }
    return results
  } finally {
    await Promise.all([...up.values()].map((one) => one.stop()))
  }
}

/** A round of one such contender by itself: one turn. */
export const alone = (start) => async () => (await sideBySide({ it: start }, { turns: 1 })).it

/** The order of the n-th time: no contender always comes after the same one. */
export function turned(names, n) {
  return names.map((_, i) => names[(i + n) % names.length])
}

function medians(turns) {
  const keys = Object.keys(turns[0])
  return Object.fromEntries(keys.map((key) => [key, summary(turns.map((turn) => turn[key])).median]))
}
