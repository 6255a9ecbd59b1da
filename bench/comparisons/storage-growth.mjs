import { growthOf } from '../lib/growth.mjs'
import { format } from '../lib/rounds.mjs'
import { setupS3, uploadRound } from '../lib/uploads.mjs'

const KB = 1_024
const points = {
  '1 KB': KB,
  '100 KB': 100 * KB,
  '1 MB': KB ** 2,
  '10 MB': 10 * KB ** 2,
  '100 MB': 100 * KB ** 2,
  '1 GB': KB ** 3,
}
const counts = { '1 KB': 50, '100 KB': 50, '1 MB': 20, '10 MB': 5 }

export default {
  title: 'Growth: uploads from 1 KB to 1 GB',
  question:
    'One form at a time by `app.storage.upload`: how long each takes, and the most memory that the process held over idle.',
  base: '1 MB',
  metrics: [
    { key: 'ms', label: 'ms per upload', better: 'low', chart: true },
    { key: 'peakMb', label: 'peak memory over idle MB', better: 'low', chart: true },
    { key: 'cpuPerMb', label: 'CPU ms per MB', better: 'low' },
  ],
  goals: [{ metric: 'peakMb', contender: '1 GB', max: 80, unit: 'MB' }],
  setup: setupS3,
  contenders: ({ options }) =>
    Object.fromEntries(
      Object.entries(points).map(([name, bytes]) => [
        name,
        () => uploadRound(options, 'form', { bytes, count: counts[name] ?? 1 }),
      ]),
    ),
  growth: (result) =>
    growthOf(result, {
      points,
      xLabel: 'bytes of one upload',
      sentence: (ratio, figure) =>
        `Time is linear from some 10 MB on (1 GB takes ${format(ratio('ms', '100 MB', '1 GB'))} times as long as 100 MB) and below that the constant of the round trips to S3; memory is flat: ${format(figure('10 MB', 'peakMb'))} MB over idle at 10 MB, ${format(figure('1 GB', 'peakMb'))} MB at 1 GB.`,
    }),
}
