import { cacheTools } from '../lib/cache-reads.mjs'
import { scriptRound } from '../lib/script.mjs'

const file = new URL('../servers/cache-outage.mjs', import.meta.url).pathname

export default {
  title: 'Cache: Redis away',
  question:
    'The slowest of 100 reads a second, with a loader that takes no time, while Redis is frozen for 2 s, or killed and started again 2 s later; and how long after its return a value could be stored and read again. All at their default settings, the others over Redis alone; values live 200 ms, so that reads go to Redis (1 s in async-cache-dedupe, which takes seconds).',
  base: 'fastify-scale, frozen',
  metrics: [
    { key: 'slowest', label: 'slowest read ms', better: 'low', chart: true },
    { key: 'backMs', label: 'used again after ms', better: 'low' },
    { key: 'errors', label: 'reads that failed', better: 'low' },
  ],
  goals: ['frozen', 'killed'].flatMap((fault) => [
    { metric: 'slowest', contender: `fastify-scale, ${fault}`, max: 150, unit: 'ms' },
    { metric: 'backMs', contender: `fastify-scale, ${fault}`, max: 1_000, unit: 'ms' },
  ]),
  async setup() {
    return { tools: await cacheTools() }
  },
  contenders: ({ tools }) => {
    const round = (kind, fault) => () => scriptRound(file, [], { env: { KIND: kind, FAULT: fault, TOOLS: tools } })
    return {
      'fastify-scale, frozen': round('ours', 'freeze'),
      'bentocache, frozen': round('bento', 'freeze'),
      'async-cache-dedupe, frozen': round('dedupe', 'freeze'),
      'cache-manager, frozen': round('manager', 'freeze'),
      'fastify-scale, killed': round('ours', 'kill'),
    }
  },
}
