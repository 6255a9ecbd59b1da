import { hostname } from 'node:os'
import scaleRealtime from '@fastify-scale/realtime'
import fp from 'fastify-plugin'

export default fp(async (app) => {
  await app.register(scaleRealtime, {
    redis: app.config.REDIS_URL,
    authorizeRoom: ({ room }) => room === 'board:main',
    rooms: { 'board:*': { history: 500, ttl: '2m' } },
  })
  app.io.on('connection', (socket) => socket.emit('worker', process.pid, hostname()))
})
