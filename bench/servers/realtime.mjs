// One process of a broadcasting service, by way of KIND; told what to do over IPC. Everybody who connects is in one room.
import { createServer } from 'node:http'
import scaleRealtime from '@fastify-scale/realtime'
import { createAdapter } from '@socket.io/redis-adapter'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { WebSocketServer } from 'ws'

const { KIND: kind, REDIS_URL: redis } = process.env
const http = createServer()
let failures = 0
let publish
let close

if (kind === 'ours' || kind === 'history') {
  const app = Fastify()
  await app.register(scaleRealtime, {
    redis,
    channel: kind, // Others are up on the same Redis; none is to hear another's broadcasts.
    rooms: { kept: { history: 500 } },
    limits: { handshakes: 100_000 },
  })
  const room = kind === 'history' ? 'kept' : 'plain'
  app.io.on('connection', (socket) => void app.realtime.join(socket, room))
  await app.listen({ port: 0, host: '127.0.0.1' })
  http.address = () => app.server.address()
  publish = (data) => app.realtime.publish(room, 'm', data)
  close = () => app.close()
} else if (kind === 'ws') {
  const publisher = new Redis(redis)
  const subscriber = new Redis(redis)
  const wss = new WebSocketServer({ server: http })
  await subscriber.subscribe('room')
  subscriber.on('message', (_channel, message) => {
    for (const client of wss.clients) client.send(message)
  })
  publish = (data) => publisher.publish('room', JSON.stringify(['m', data]))
} else {
  const options = { transports: ['websocket'], serveClient: false }
  if (kind === 'socketio') options.adapter = createAdapter(new Redis(redis), new Redis(redis), { key: kind })
  const io = new Server(http, options)
  io.on('connection', (socket) => void socket.join('plain'))
  publish = (data) => io.to('plain').emit('m', data)
  close = () => io.close()
}
if (!http.address()) await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))

const now = () => Number(process.hrtime.bigint()) / 1e6
const text = 'x'.repeat(100)
async function send() {
  try {
    await publish({ at: now(), text })
  } catch {
    failures++
  }
}

const commands = {
  /** So many messages, `rate` a second; without a rate all at once. */
  async emit({ total, rate }) {
    if (!rate) {
      await Promise.all(Array.from({ length: total }, send))
      return {}
    }
    const start = performance.now()
    const sent = []
    await new Promise((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(total, Math.floor(((performance.now() - start) / 1_000) * rate) + 1)
        while (sent.length < due) sent.push(send())
        if (sent.length < total) return
        clearInterval(timer)
        resolve()
      }, 2)
    })
    await Promise.all(sent)
    return { failures }
  },
  usage() {
    const { user, system } = process.cpuUsage()
    return { cpuUs: user + system }
  },
  async memory() {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 100))
    globalThis.gc()
    return { rss: process.memoryUsage().rss }
  },
  async close() {
    const start = performance.now()
    await close()
    return { ms: performance.now() - start }
  },
}
process.on('message', async ({ id, type, ...rest }) => process.send({ id, ...(await commands[type](rest)) }))
process.on('disconnect', () => process.exit(0))
process.send({ port: http.address().port })
