import { startRedis } from '@fastify-scale/dev-services'
import { scriptRound } from './script.mjs'
import { npmTool } from './tools.mjs'

const file = new URL('../servers/cache-script.mjs', import.meta.url).pathname

/** Reads of one cached value, from process memory (`l1`) or Redis (`l2`), by each library. */
export function cacheReads(tier, bytes, extra) {
  const names = {
    ...(tier === 'l2' ? { 'raw ioredis GET + JSON.parse': 'raw' } : {}),
    'fastify-scale': 'ours',
    bentocache: 'bento',
    'async-cache-dedupe': 'dedupe',
    'cache-manager': 'manager',
  }
  return {
    metrics: [
      { key: 'cpuUs', label: 'CPU us per read', better: 'low', chart: true },
      { key: 'wallNs', label: 'ns per read', better: 'low' },
    ],
    async setup() {
      const redis = await startRedis()
      const tools = await npmTool(
        'bentocache@1',
        'async-cache-dedupe@3',
        'cache-manager@7',
        'keyv@5',
        '@keyv/redis@5',
        'ioredis@5',
      )
      return { url: redis.url, tools, stop: () => redis.stop() }
    },
    contenders: ({ url, tools }) => ({
      ...Object.fromEntries(
        Object.entries(names).map(([name, kind]) => [
          name,
          () =>
            scriptRound(file, [], {
              env: { KIND: kind, TIER: tier, BYTES: String(bytes), REDIS_URL: url, TOOLS: tools },
            }),
        ]),
      ),
      ...(tier === 'l1'
        ? {
            'fastify-scale, two tags': () =>
              scriptRound(file, [], {
                env: { KIND: 'ours', TAGGED: '1', TIER: tier, BYTES: String(bytes), REDIS_URL: url, TOOLS: tools },
              }),
          }
        : {}),
    }),
    ...extra,
  }
}
