// CPU us per verification of tokens that were never seen before. KIND: ours, raw (the signature check alone), jwt, or
// make, which writes the tokens to FILE. ALG: HS256 or RS256. KEEP: how many verified tokens ours keeps.
import { constants, createHmac, createPrivateKey, createPublicKey, createVerify, timingSafeEqual } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import scaleAuth from '@fastify-scale/auth'
import jwt from '@fastify/jwt'
import Fastify from 'fastify'
import { newRsaKey } from './rsa-key.mjs'

const { KIND: kind, ALG: alg, FILE: file, KEEP: keep } = process.env
const WARMUP = 5_000
const COUNT = 10_000
const secret = 'k3Jx8Lw0ZbYt5VnRk2PdHs7MfGc9TaUe4XoKi6Nv1Bj'
const { jwk, tokens } = kind === 'make' ? { jwk: newRsaKey(), tokens: [] } : JSON.parse(readFileSync(file, 'utf8'))
const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
const publicKey = createPublicKey(privateKey)
const app = Fastify()
const key = { ...jwk, kid: 'a', alg: 'RS256', use: 'sig', status: 'active' }
await app.register(scaleAuth, {
  ...(alg === 'HS256' ? { secret } : { keys: { keys: [key] } }),
  issuer: 'bench',
  accessTokenTtl: '1h',
  ...(keep ? { cacheSize: Number(keep) } : {}),
})
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
if (kind === 'make') {
  for (let i = 0; i < WARMUP + COUNT; i++)
    tokens.push((await app.auth.login({ sub: `user-${i}`, roles: ['user'] })).accessToken)
  writeFileSync(file, JSON.stringify({ jwk, tokens }))
  process.stdout.write('{}\n')
  process.exit(0)
}

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
for (let i = 0; i < WARMUP; i++) verify(tokens[i])
const start = process.cpuUsage()
for (let i = WARMUP; i < WARMUP + COUNT; i++) verify(tokens[i])
const used = process.cpuUsage(start)
process.stdout.write(`${JSON.stringify({ cpuUs: (used.user + used.system) / COUNT })}\n`)
process.exit(0)
