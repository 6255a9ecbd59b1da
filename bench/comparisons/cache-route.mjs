import { startRedis } from '@fastify-scale/dev-services'
import { httpRound } from '../lib/http.mjs'

const file = new URL('../servers/route-cache.mjs', import.meta.url).pathname
const round = (kind, redis) => httpRound({ command: [process.execPath, file], env: { KIND: kind, REDIS_URL: redis } })

export default {
  title: 'A cached route, from memory',
  question: 'How near does a cached route come to the same route answering a constant text?',
  base: 'constant',
  metrics: [
    { key: 'rps', label: 'requests/s', better: 'high', chart: true },
    { key: 'cpuPer1k', label: 'CPU ms per 1,000 requests', better: 'low' },
    { key: 'p99', label: 'p99 ms', better: 'low' },
  ],
  goals: [{ metric: 'rps', contender: 'fastify-scale', over: 'constant', min: 0.6 }],
  async setup() {
    const redis = await startRedis()
    return { url: redis.url, stop: () => redis.stop() }
  },
  contenders: ({ url }) => ({ constant: () => round('constant', url), 'fastify-scale': () => round('cached', url) }),
}
