// A service that begins with REVOCATIONS entries in the stream: how long its start took, its memory, and ns per verification
// of tokens that it has seen. With FILL it writes them.
import scaleAuth from '@fastify-scale/auth'
import Fastify from 'fastify'

const { REDIS_URL: redis, REVOCATIONS: count, FILL: fill } = process.env
const app = Fastify()
const start = performance.now()
await app.register(scaleAuth, {
  secret: 'k3Jx8Lw0ZbYt5VnRk2PdHs7MfGc9TaUe4XoKi6Nv1Bj',
  issuer: 'bench',
  accessTokenTtl: '1h',
  sessions: { redis, prefix: `r${count}:`, commandTimeout: '30s' },
})
await app.ready()
if (fill) {
  let next = 0
  const worker = async () => {
    while (next < Number(count)) await app.auth.revoke({ jti: `token-of-somebody-else-${next++}` })
  }
  await Promise.all(Array.from({ length: 256 }, worker))
  process.stdout.write('{}\n')
  process.exit(0)
}
const startMs = performance.now() - start
globalThis.gc()
const memoryMb = process.memoryUsage().rss / 1_048_576

const tokens = []
for (let i = 0; i < 100; i++) tokens.push((await app.auth.login({ sub: `user-${i}`, roles: [] })).accessToken)
const VERIFICATIONS = 500_000
for (let i = 0; i < VERIFICATIONS / 10; i++) app.auth.verify(tokens[i % 100])
const before = process.cpuUsage()
for (let i = 0; i < VERIFICATIONS; i++) app.auth.verify(tokens[i % 100])
const used = process.cpuUsage(before)
// A service that does not know the present state of the stream is not what is measured.
const failures = app.auth.staleness() > 5_000 ? 1 : 0
process.stdout.write(
  `${JSON.stringify({ startMs, memoryMb, verifyNs: ((used.user + used.system) * 1_000) / VERIFICATIONS, failures })}\n`,
)
process.exit(0)
