// One worker of a launcher that runs a script: pm2, or bare node:cluster below.
import Fastify from 'fastify'
import hello from './hello.mjs'

const app = Fastify({ logger: false })
await app.register(hello)
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
process.send?.('ready')
