import { httpInTurn } from '../lib/http.mjs'

const file = new URL('../servers/auth.mjs', import.meta.url).pathname

function contender(kind) {
  return httpInTurn({
    command: [process.execPath, file],
    env: { KIND: kind },
    warmup: 3,
    seconds: 2,
    prepare: async (url) => {
      const { token } = await (await fetch(`${url}/token`)).json()
      return { headers: { authorization: `Bearer ${token}` } }
    },
  })
}

export default {
  title: 'Authentication: one protected route',
  question:
    'What does a verified token cost per request, over the same route left open? The same headers are sent to each. All are up at once, and the load goes from one to the next every two seconds, four times a round.',
  base: 'open, RS256 token sent',
  metrics: [
    { key: 'cpuPer1k', label: 'CPU ms per 1,000 requests', better: 'low', chart: true },
    { key: 'rps', label: 'requests/s', better: 'high' },
    { key: 'p99', label: 'p99 ms', better: 'low' },
  ],
  goals: [
    { metric: 'cpuPer1k', contender: 'fastify-scale RS256', over: 'open, RS256 token sent', max: 1.35 },
    { metric: 'cpuPer1k', contender: 'fastify-scale HS256', over: 'open, HS256 token sent', max: 1.35 },
  ],
  turns: 4,
  contenders: {
    'open, RS256 token sent': contender('open-rs256'),
    'open, HS256 token sent': contender('open-hs256'),
    'fastify-scale HS256': contender('scale-hs256'),
    'fastify-scale RS256': contender('scale-rs256'),
    '@fastify/jwt HS256': contender('jwt-hs256'),
    '@fastify/jwt RS256': contender('jwt-rs256'),
  },
}
