import { startRedis } from '@fastify-scale/dev-services'
import { httpRound } from './http.mjs'

const file = new URL('../servers/compress.mjs', import.meta.url).pathname

/** gzip of one JSON answer of so many KB, done in each of the ways. */
export function compressComparison(kilobytes) {
  const round = (kind, redis) =>
    httpRound({
      command: [process.execPath, file],
      env: { KIND: kind, BYTES: String(kilobytes * 1_024), REDIS_URL: redis ?? '' },
      headers: { 'accept-encoding': 'gzip' },
    })
  return {
    title: `gzip of ${kilobytes} KB of JSON`,
    question:
      'What does an answer cost when the client takes gzip: not compressed, compressed by each request, taken compressed from the cache, and at best (a constant Buffer that was compressed before)?',
    base: 'constant gzip Buffer',
    metrics: [
      { key: 'cpuPer1k', label: 'CPU ms per 1,000 requests', better: 'low', chart: true },
      { key: 'rps', label: 'requests/s', better: 'high' },
      { key: 'p99', label: 'p99 ms', better: 'low' },
    ],
    goals: [
      {
        metric: 'cpuPer1k',
        contender: 'fastify-scale from the cache',
        over: 'constant gzip Buffer',
        max: 1.3,
        why: 'The rest is what HTTP asks of a cache for each request: the key, the negotiation of the coding, conditions, Age and Cache-Status.',
      },
    ],
    async setup() {
      const redis = await startRedis()
      return { url: redis.url, stop: () => redis.stop() }
    },
    contenders: ({ url }) => ({
      'not compressed': () => round('none'),
      '@fastify/compress, defaults': () => round('plugin'),
      'fastify-scale, each request': () => round('ours'),
      'fastify-scale from the cache': () => round('cached', url),
      'constant gzip Buffer': () => round('constant'),
    }),
  }
}
