import { httpRound } from '../lib/http.mjs'

const file = new URL('../servers/auth.mjs', import.meta.url).pathname

function round(kind) {
  return httpRound({
    command: [process.execPath, file],
    env: { KIND: kind },
    prepare: async (url) => {
      const { token } = await (await fetch(`${url}/token`)).json()
      return { headers: { authorization: `Bearer ${token}` } }
    },
  })
}

export default {
  title: 'Authentication: one protected route',
  question:
    'What does a verified token cost per request, over the same route left open? The same headers are sent to each.',
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
  contenders: {
    'open, RS256 token sent': () => round('open-rs256'),
    'open, HS256 token sent': () => round('open-hs256'),
    'fastify-scale HS256': () => round('scale-hs256'),
    'fastify-scale RS256': () => round('scale-rs256'),
    '@fastify/jwt HS256': () => round('jwt-hs256'),
    '@fastify/jwt RS256': () => round('jwt-rs256'),
  },
}
