import { startRedis } from '@fastify-scale/dev-services'
import { scriptRound } from './script.mjs'
import { npmTool } from './tools.mjs'

const file = new URL('../servers/cache-script.mjs', import.meta.url).pathname

/** The libraries that are compared, installed. */
export const cacheTools = () =>
  npmTool('bentocache@1', 'async-cache-dedupe@3', 'cache-manager@7', 'keyv@5', '@keyv/redis@5', 'ioredis@5')

/** Reads of one cached value, from process memory (`l1`) or Redis (`l2`), by each library. */
export function cacheReads(tier, bytes, extra) {
  const names = {
    ...(tier === 'l2' ? { 'raw ioredis GET + JSON.parse': { KIND: 'raw' } } : {}),
    [tier === 'l2' ? 'fastify-scale, memory off' : 'fastify-scale']: { KIND: 'ours' },
    ...(tier === 'l2' ? { 'fastify-scale, memory on': { KIND: 'ours', L1: '1' } } : {}),
    ...(tier === 'l1' ? { 'fastify-scale, two tags': { KIND: 'ours', TAGGED: '1' } } : {}),
    bentocache: { KIND: 'bento' },
    'async-cache-dedupe': { KIND: 'dedupe' },
    'cache-manager': { KIND: 'manager' },
  }
  return {
    metrics: [
      { key: 'cpuUs', label: 'CPU us per read', better: 'low', chart: true },
      { key: 'wallNs', label: 'ns per read', better: 'low' },
    ],
    async setup() {
      const redis = await startRedis()
      const tools = await cacheTools()
      return { url: redis.url, tools, stop: () => redis.stop() }
    },
    contenders: ({ url, tools }) =>
      Object.fromEntries(
        Object.entries(names).map(([name, env]) => [
          name,
          () =>
            scriptRound(file, [], { env: { ...env, TIER: tier, BYTES: String(bytes), REDIS_URL: url, TOOLS: tools } }),
        ]),
      ),
    ...extra,
  }
}
