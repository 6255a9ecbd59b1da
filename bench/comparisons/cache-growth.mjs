import { growthOf } from '../lib/growth.mjs'
import { setupRedis } from '../lib/realtime.mjs'
import { format } from '../lib/rounds.mjs'
import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/cache-growth.mjs', import.meta.url).pathname
const points = { '10 keys': 10, '1,000 keys': 1_000, '10,000 keys': 10_000, '100,000 keys': 100_000 }

export default {
  title: 'Growth: 10 to 100,000 keys and tags',
  question:
    'So many entries of 1 KB, each with a tag of its own and one tag that all carry, process memory off: CPU of a hit of any of them in Redis, and how long it takes to invalidate the tag of one entry, and the tag of all. Checked each time that what was invalidated is not read again, and the rest is.',
  base: '1,000 keys',
  metrics: [
    { key: 'hitUs', label: 'CPU us per hit', better: 'low', chart: true },
    { key: 'tagUs', label: 'us to invalidate the tag of one entry', better: 'low', chart: true },
    { key: 'allUs', label: 'us to invalidate the tag of all', better: 'low', chart: true },
  ],
  goals: [{ metric: 'hitUs', contender: '100,000 keys', over: '10 keys', max: 1.5 }],
  setup: setupRedis,
  contenders: ({ url }) =>
    Object.fromEntries(
      Object.entries(points).map(([name, keys]) => [
        name,
        () => scriptRound(file, [], { env: { KEYS: String(keys), REDIS_URL: url } }),
      ]),
    ),
  growth: (result) =>
    growthOf(result, {
      points,
      xLabel: 'keys, and as many tags',
      sentence: (_ratio, figure) => {
        const both = (key) =>
          `${format(figure('10 keys', key))} us with 10, ${format(figure('100,000 keys', key))} us with 100,000`
        return `All three are flat in the number of keys and tags: a hit (${both('hitUs')}), the invalidation of a tag that one entry carries (${both('tagUs')}), and of one that all carry (${both('allUs')}). What is linear is the memory of Redis.`
      },
    }),
}
