import { setupS3, uploadRound } from '../lib/uploads.mjs'

const MB = 1_024 ** 2

export default {
  title: '50 uploads of 20 MB at once',
  question:
    'Fifty forms come in at the same moment: the most memory that the process held over idle, and how fast they were stored. Ours takes 16 at once by default and refuses more; here `slotTimeout` lets the others wait for a slot, with their bytes in the network, or there are 50 slots with one part buffer each (`maxConcurrentUploads: 50`, `queueSize: 1`). The recipe takes them all at once.',
  note: 'MB/s are mostly those of the S3 server (Ceph, on the same disk and the same two cores), and noisy.',
  base: '@fastify/multipart + Upload',
  metrics: [
    { key: 'peakMb', label: 'peak memory over idle MB', better: 'low', chart: true },
    { key: 'mbPerS', label: 'MB/s', better: 'high', chart: true },
    { key: 'cpuPerMb', label: 'CPU ms per MB', better: 'low' },
  ],
  goals: [
    { metric: 'peakMb', contender: 'fastify-scale, 16 slots', max: 250, unit: 'MB' },
    { metric: 'mbPerS', contender: 'fastify-scale, 16 slots', over: '@fastify/multipart + Upload', min: 0.9 },
  ],
  contenders: {
    '@fastify/multipart + Upload': round('recipe'),
    'fastify-scale, 16 slots': round('form', { slotTimeout: '5m' }),
    'fastify-scale, 50 slots': round('form', { maxConcurrentUploads: 50, queueSize: 1 }),
  },
}

/** A round stores 1 GB, and the S3 server has room for ten: each has its own. */
function round(kind, slots) {
  return async () => {
    const { options, stop } = await setupS3()
    try {
      return await uploadRound({ ...options, ...slots }, kind, { bytes: 20 * MB, count: 50, parallel: 50 })
    } finally {
      await stop()
    }
  }
}
