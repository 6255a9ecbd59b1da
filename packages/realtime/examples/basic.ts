import scaleRealtime from '@fastify-scale/realtime'
import { createRealtimeClient } from '@fastify-scale/realtime/client'
import fastify from 'fastify'

// The events, once, for server and client.
interface BoardEvents {
  comment: (comment: { text: string }) => void
}
declare module '@fastify-scale/realtime' {
  interface ServerToClientEvents extends BoardEvents {}
}

const app = fastify()
await app.register(scaleRealtime, {
  redis: process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379',
  rooms: { 'board:*': { history: 500, ttl: '2m' } },
  authorizeRoom: ({ room }) => room.startsWith('board:'),
})
app.post<{ Params: { board: string }; Body: { text: string } }>('/boards/:board/comments', async (request) =>
  app.realtime.publish(`board:${request.params.board}`, 'comment', { text: request.body.text }),
)
const url = await app.listen()

const socket = createRealtimeClient<BoardEvents, Record<string, never>>(url)
const arrived = new Promise<string>((resolve) => socket.once('comment', ({ text }) => resolve(text)))
await socket.join('board:1')
await fetch(`${url}/boards/1/comments`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ text: 'Hello' }),
})
process.stdout.write(`${await arrived}\n`)

socket.disconnect()
await app.close()
