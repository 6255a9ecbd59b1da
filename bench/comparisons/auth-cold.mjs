import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { scriptRound } from '../lib/script.mjs'

const script = new URL('../servers/auth-verify.mjs', import.meta.url).pathname

export default {
  title: 'Authentication: a token that was never seen',
  question:
    'The first verification of each of 10,000 different tokens by `app.auth.verify`: signature, header, claims, revocations. By default a token that comes a second time is kept for the requests after it, which is what makes those cheap; with `cacheSize: 0` none is, as by the others. Beside it the signature check alone by node:crypto, which parses and checks nothing.',
  base: 'node:crypto RS256',
  metrics: [{ key: 'cpuUs', label: 'CPU us per token', better: 'low', chart: true }],
  goals: [
    { metric: 'cpuUs', contender: 'fastify-scale RS256', over: 'node:crypto RS256', max: 1.3 },
    { metric: 'cpuUs', contender: 'fastify-scale RS256, none kept', over: 'node:crypto RS256', max: 1.3 },
  ],
  async setup() {
    const dir = mkdtempSync(join(tmpdir(), 'fastify-scale-bench-'))
    const round = (kind, alg, keep = '') =>
      scriptRound(script, [], { env: { KIND: kind, ALG: alg, KEEP: keep, FILE: join(dir, alg) } })
    await round('make', 'RS256')
    await round('make', 'HS256')
    return { round, stop: () => rmSync(dir, { recursive: true }) }
  },
  contenders: ({ round }) => ({
    'node:crypto RS256': () => round('raw', 'RS256'),
    'fastify-scale RS256': () => round('ours', 'RS256'),
    'fastify-scale RS256, none kept': () => round('ours', 'RS256', '0'),
    '@fastify/jwt RS256': () => round('jwt', 'RS256'),
    'node:crypto HS256': () => round('raw', 'HS256'),
    'fastify-scale HS256': () => round('ours', 'HS256'),
    'fastify-scale HS256, none kept': () => round('ours', 'HS256', '0'),
    '@fastify/jwt HS256': () => round('jwt', 'HS256'),
  }),
}
