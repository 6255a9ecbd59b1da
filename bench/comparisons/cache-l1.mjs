import { cacheReads } from '../lib/cache-reads.mjs'

export default cacheReads('l1', 1_024, {
  title: 'Cache: a hit in process memory',
  question:
    'Reads of one value of 1 KB that is in the memory of the process. Ours is kept honest by Redis meanwhile; the others may serve what another process has changed until the ttl ends.',
  base: 'fastify-scale',
  goals: ['fastify-scale', 'fastify-scale, two tags'].map((contender) => ({
    metric: 'wallNs',
    contender,
    max: 1_000,
    unit: 'ns',
  })),
})
