import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/auth-hostile.mjs', import.meta.url).pathname
const round = (bytes) => () => scriptRound(file, [], { env: { BYTES: String(bytes) } })

export default {
  title: 'Authentication: hostile tokens',
  question:
    'How long can one token keep the event loop? Eleven kinds (long parts, deep nesting, padding, wrong signatures), handed to `app.auth.verify` 25 times each; the median of the kind that takes longest. None was accepted.',
  base: '20 KB',
  metrics: [{ key: 'slowest', label: 'slowest ms', better: 'low', chart: true }],
  goals: ['1 KB', '20 KB', '1 MB'].map((contender) => ({ metric: 'slowest', contender, max: 5, unit: 'ms' })),
  contenders: { '1 KB': round(1_024), '20 KB': round(20 * 1_024), '1 MB': round(1_024 ** 2) },
}
