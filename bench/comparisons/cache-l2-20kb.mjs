import { cacheReads } from '../lib/cache-reads.mjs'

export default cacheReads('l2', 20 * 1_024, {
  title: 'Cache: a hit in Redis, 20 KB',
  question:
    'Reads of values of 20 KB by way of Redis, sixteen keys at a time (async-cache-dedupe would join reads of one key); CPU of the reading process. Beside it our default, with process memory on.',
  base: 'raw ioredis GET + JSON.parse',
  goals: [
    {
      metric: 'cpuUs',
      contender: 'fastify-scale, memory off',
      over: 'raw ioredis GET + JSON.parse',
      max: 1.2,
      why: 'What is above it are the checks that a bare GET does not make: the header of the entry, its freshness, epoch and tags, a deadline and a breaker around the command.',
    },
  ],
})
