import { growthOf } from '../lib/growth.mjs'
import { setupRedis } from '../lib/realtime.mjs'
import { format } from '../lib/rounds.mjs'
import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/auth-growth.mjs', import.meta.url).pathname
const none = 'no revocations'
const most = '100,000 revocations'
const drawn = { '100 revocations': 100, '1,000 revocations': 1_000, '10,000 revocations': 10_000, [most]: 100_000 }
const counts = { [none]: 0, ...drawn }

export default {
  title: 'Growth: 0 to 100,000 revocations',
  question:
    'A process starts with so many revoked tokens in the stream that it must know before it is ready: how long from `register` to `ready`, its memory after that, and CPU per verification of tokens that it has seen before.',
  base: none,
  metrics: [
    { key: 'verifyNs', label: 'CPU ns per verification', better: 'low', chart: true },
    { key: 'startMs', label: 'start ms', better: 'low', chart: true },
    { key: 'memoryMb', label: 'memory MB', better: 'low', chart: true },
  ],
  goals: [{ metric: 'verifyNs', contender: most, over: none, max: 1.3 }],
  async setup() {
    const redis = await setupRedis()
    for (const count of Object.values(drawn))
      await scriptRound(file, [], { env: { REDIS_URL: redis.url, REVOCATIONS: String(count), FILL: '1' } })
    return redis
  },
  contenders: ({ url }) =>
    Object.fromEntries(
      Object.entries(counts).map(([name, count]) => [
        name,
        () => scriptRound(file, [], { env: { REDIS_URL: url, REVOCATIONS: String(count) }, nodeArgs: ['--expose-gc'] }),
      ]),
    ),
  growth: (result) =>
    growthOf(result, {
      points: drawn,
      xLabel: 'revocations that still matter',
      sentence: (_ratio, figure) => {
        const grown = figure(most, 'memoryMb') - figure(none, 'memoryMb')
        return `Verification is flat (${format(figure(most, 'verifyNs'))} ns with 100,000, ${format(figure(none, 'verifyNs'))} ns without any): a look-up or two in Maps. Start and memory are linear: 100,000 revocations take ${format(figure(most, 'startMs') - figure(none, 'startMs'))} ms longer to read and ${format(grown)} MB, some ${format((grown * 1_048_576) / 100_000)} bytes each; an entry is forgotten when the last token that it can hit has expired.`
      },
    }),
}
