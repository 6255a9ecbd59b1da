// One route; KIND says what protects it, and TOKEN which token an open one is sent: the same headers cost the same to read.
import { generateKeyPairSync } from 'node:crypto'
import scaleAuth from '@fastify-scale/auth'
import jwt from '@fastify/jwt'
import Fastify from 'fastify'
import { serve } from './print-url.mjs'
import { newRsaKey } from './rsa-key.mjs'

const kind = process.env.KIND
const app = Fastify({ logger: false })
const claims = { sub: 'u1', roles: ['user'] }
const secret = 'k3Jx8Lw0ZbYt5VnRk2PdHs7MfGc9TaUe4XoKi6Nv1Bj'
const answer = async (request) => ({ sub: request.user?.sub ?? 'nobody' })
let token

function registerScaleAuth(to, algorithm) {
  const key = { ...newRsaKey(), kid: 'a', alg: 'RS256', use: 'sig', status: 'active' }
  return to.register(scaleAuth, {
    ...(algorithm === 'hs256' ? { secret } : { keys: { keys: [key] } }),
    issuer: 'bench',
  })
}

if (kind === 'scale-hs256' || kind === 'scale-rs256') {
  await registerScaleAuth(app, kind.slice(6))
  app.get('/', { onRequest: app.authenticate }, answer)
  token = (await app.auth.login(claims)).accessToken
} else if (kind === 'jwt-hs256' || kind === 'jwt-rs256') {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  await app.register(
    jwt,
    kind === 'jwt-hs256'
      ? { secret }
      : { secret: { private: privateKey, public: publicKey }, sign: { algorithm: 'RS256' } },
  )
  app.get('/', { onRequest: (request) => request.jwtVerify() }, answer)
  token = app.jwt.sign(claims, { expiresIn: '5m' })
} else {
  app.get('/', answer)
  const issuer = Fastify()
  await registerScaleAuth(issuer, kind.slice(5))
  token = (await issuer.auth.login(claims)).accessToken
}
app.get('/token', async () => ({ token }))
await serve(app)
