import { cacheReads } from '../lib/cache-reads.mjs'

export default cacheReads('l2', 20 * 1_024, {
  title: 'Cache: a hit in Redis, 20 KB',
  question:
    'Reads of one value of 20 KB by way of Redis, sixteen at a time, with process memory off; CPU of the reading process.',
  base: 'raw ioredis GET + JSON.parse',
  goals: [{ metric: 'cpuUs', contender: 'fastify-scale', over: 'raw ioredis GET + JSON.parse', max: 1.2 }],
})
