import type { FastifyInstance } from 'fastify'
import { describe, expectTypeOf, it } from 'vitest'
import { createRealtimeClient } from '../src/client.ts'
import '../src/index.ts'

interface ServerToClient {
  moved: (card: { id: number }) => void
  cleared: () => void
}
interface ClientToServer {
  rename: (name: string, reply: (ok: boolean) => void) => void
}

declare module '../src/index.ts' {
  interface ServerToClientEvents extends ServerToClient {}
  interface ClientToServerEvents extends ClientToServer {}
  interface SocketData {
    theme?: string
  }
}

describe('server', () => {
  const app = {} as FastifyInstance

  it('publishes known events with their data', () => {
    expectTypeOf(app.realtime.publish('room', 'moved', { id: 1 })).resolves.toHaveProperty('seq')
    void app.realtime.publish('room', 'cleared')
    void app.realtime.publish('room', 'moved', { id: 1 }, { id: 'once' })
    // @ts-expect-error unknown event
    void app.realtime.publish('room', 'foto', { id: 1 })
    // @ts-expect-error wrong payload
    void app.realtime.publish('room', 'moved', { id: '1' })
    // @ts-expect-error missing payload
    void app.realtime.publish('room', 'moved')
  })

  it('has a typed Socket.IO server', () => {
    app.io.emit('moved', { id: 1 })
    // @ts-expect-error wrong payload
    app.io.emit('moved', 1)
    // @ts-expect-error unknown event
    app.io.to('room').emit('other')
    app.io.on('connection', (socket) => {
      expectTypeOf(socket.data.theme).toEqualTypeOf<string | undefined>()
      expectTypeOf(socket.data.user?.sub).toEqualTypeOf<string | undefined>()
      socket.on('rename', (name, reply) => {
        expectTypeOf(name).toBeString()
        reply(true)
        // @ts-expect-error wrong answer
        reply('yes')
      })
      // @ts-expect-error unknown event
      socket.on('unknown', () => {})
    })
  })
})

describe('client', () => {
  const socket = createRealtimeClient<ServerToClient, ClientToServer>('/')

  it('listens to and sends known events', () => {
    socket.on('moved', (card) => expectTypeOf(card).toEqualTypeOf<{ id: number }>())
    socket.emit('rename', 'me', (ok) => expectTypeOf(ok).toBeBoolean())
    // @ts-expect-error unknown event
    socket.on('foto', () => {})
    // @ts-expect-error wrong payload
    socket.emit('rename', 7, () => {})
    // @ts-expect-error unknown event
    socket.emit('moved', { id: 1 })
    expectTypeOf(socket.join('room')).resolves.toBeVoid()
  })

  it('takes any events where none are named', async () => {
    const any = createRealtimeClient('/')
    any.on('moved', (card: { id: number }) => void card)
    any.on('moved', (card, ...more) => void [card, more])
    any.emit('rename', 'me', 7, (ok: boolean) => void ok)
    expectTypeOf(await any.emitWithAck('rename', 'me')).toBeAny()
  })
})
