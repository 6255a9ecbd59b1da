import { startRedis } from '@fastify-scale/dev-services'
import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/settings-script.mjs', import.meta.url).pathname

export default {
  title: 'Settings: a read',
  question: 'What does `app.settings.get()` cost, beside a look-up in a Map?',
  base: 'Map.get',
  metrics: [{ key: 'wallNs', label: 'ns per read', better: 'low', chart: true }],
  async setup() {
    const redis = await startRedis()
    return { url: redis.url, stop: () => redis.stop() }
  },
  contenders: ({ url }) => ({
    'fastify-scale': () => scriptRound(file, [], { env: { KIND: 'ours', REDIS_URL: url } }),
    'Map.get': () => scriptRound(file, [], { env: { KIND: 'map', REDIS_URL: url } }),
  }),
}
