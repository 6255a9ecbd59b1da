// CPU us per verification of tokens that were never seen before. KIND: ours, raw (the signature check alone) or jwt; ALG: HS256 or RS256.
import { constants, createHmac, createPublicKey, createVerify, generateKeyPairSync, timingSafeEqual } from 'node:crypto'
import scaleAuth from '@fastify-scale/auth'
import jwt from '@fastify/jwt'
import Fastify from 'fastify'

const { KIND: kind, ALG: alg } = process.env
const COUNT = 4_000
const secret = 'k3Jx8Lw0ZbYt5VnRk2PdHs7MfGc9TaUe4XoKi6Nv1Bj'
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const publicKey = createPublicKey(privateKey)
const app = Fastify()
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'a', alg: 'RS256', use: 'sig', status: 'active' }
await app.register(scaleAuth, { ...(alg === 'HS256' ? { secret } : { keys: { keys: [key] } }), issuer: 'bench' })
await app.register(jwt, {
  namespace: 'plain',
  decoratorName: 'plainUser',
  secret:
    alg === 'HS256'
      ? secret
      : {
          private: privateKey.export({ type: 'pkcs8', format: 'pem' }),
          public: publicKey.export({ type: 'spki', format: 'pem' }),
        },
  verify: { algorithms: [alg], allowedIss: 'bench' },
})
await app.ready()

const tokens = []
for (let i = 0; i < COUNT * 1.25; i++)
  tokens.push((await app.auth.login({ sub: `user-${i}`, roles: ['user'] })).accessToken)

const rsa = { key: publicKey, padding: constants.RSA_PKCS1_PADDING }
const verifiers = {
  ours: (token) => app.auth.verify(token),
  jwt: (token) => app.jwt.plain.verify(token),
  raw(token) {
    const dot = token.lastIndexOf('.')
    const input = token.slice(0, dot)
    const signature = Buffer.from(token.slice(dot + 1), 'base64url')
    const good =
      alg === 'HS256'
        ? timingSafeEqual(createHmac('sha256', secret).update(input).digest(), signature)
        : createVerify('sha256').update(input).verify(rsa, signature)
    if (!good) throw new Error('a good token was refused')
  },
}
const verify = verifiers[kind]
for (const token of tokens.slice(COUNT)) verify(token)
const start = process.cpuUsage()
for (let i = 0; i < COUNT; i++) verify(tokens[i])
const used = process.cpuUsage(start)
process.stdout.write(`${JSON.stringify({ cpuUs: (used.user + used.system) / COUNT })}\n`)
process.exit(0)
