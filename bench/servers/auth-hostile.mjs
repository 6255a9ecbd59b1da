// How long one hostile token keeps the event loop, in ms: the median of 25 calls, of the kind that takes longest.
import scaleAuth from '@fastify-scale/auth'
import Fastify from 'fastify'
import { newRsaKey } from './rsa-key.mjs'

const key = { ...newRsaKey(), kid: 'a', alg: 'RS256', use: 'sig', status: 'active' }
const app = Fastify()
await app.register(scaleAuth, { keys: { keys: [key] }, issuer: 'bench' })
await app.ready()
const good = (await app.auth.login({ sub: 'u1', roles: ['user'] })).accessToken
const [header, payload, signature] = good.split('.')
const part = (text) => Buffer.from(text).toString('base64url')
const size = Number(process.env.BYTES)
const nested = '['.repeat(size / 2) + ']'.repeat(size / 2)
const hostile = [
  'A'.repeat(size),
  '.'.repeat(size),
  'é'.repeat(size),
  `${'A'.repeat(size)}.${payload}.${signature}`,
  `${part(`{"alg":"RS256","kid":"${'k'.repeat(size)}"}`)}.${payload}.${signature}`,
  `${part(`{"alg":"RS256","kid":"a","x":${nested}}`)}.${payload}.${signature}`,
  `${header}.${part(nested)}.${signature}`,
  `${header}.${part(`{"sub":"${'s'.repeat(size)}"}`)}.${signature}`,
  `${header}.${payload}.${'A'.repeat(size)}`,
  `${header}.${payload}.${'A'.repeat(342)}`,
  `${header}.${payload}.${signature}${'='.repeat(size)}`,
]
let accepted = 0
let slowest = 0
for (const token of hostile) {
  const took = []
  for (let i = 0; i < 25; i++) {
    const start = performance.now()
    try {
      app.auth.verify(token)
      accepted++
    } catch (error) {
      if (error.statusCode !== 401 && error.statusCode !== 400) throw error
    }
    took.push(performance.now() - start)
  }
  // The median, since any call may be interrupted by another process of the machine.
  took.sort((a, b) => a - b)
  slowest = Math.max(slowest, took[12])
}
process.stdout.write(`${JSON.stringify({ slowest, failures: accepted })}\n`)
process.exit(0)
