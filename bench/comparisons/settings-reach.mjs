import { startRedis } from '@fastify-scale/dev-services'
import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/settings-reach.mjs', import.meta.url).pathname

export default {
  title: 'Settings: a change reaches four processes',
  question:
    'From the call of `set()` until the listeners of all four processes have been called, 500 changes one after the other, on loopback.',
  base: 'fastify-scale',
  metrics: [
    { key: 'median', label: 'median ms', better: 'low', chart: true },
    { key: 'p99', label: 'p99 ms', better: 'low' },
  ],
  async setup() {
    const redis = await startRedis()
    return { url: redis.url, stop: () => redis.stop() }
  },
  contenders: ({ url }) => ({ 'fastify-scale': () => scriptRound(file, [], { env: { REDIS_URL: url } }) }),
}
