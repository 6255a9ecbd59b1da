import { connect as connectTcp } from 'node:net'
import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { Turns } from '../src/turns.ts'
import { onEnd, startApp } from './support.ts'

const MB = 1_024 * 1_024

/** Counts how often something happens in each turn of the event loop. */
function countTurns(): { happened: () => void; most: () => number; total: () => number } {
  const turns = [0]
  let next = setImmediate(function turn() {
    turns.push(0)
    next = setImmediate(turn)
  })
  onEnd(() => clearImmediate(next))
  return {
    happened: () => void (turns[turns.length - 1] = (turns.at(-1) as number) + 1),
    most: () => Math.max(...turns),
    total: () => turns.reduce((a, b) => a + b),
  }
}

/** Keeps the event loop busy. */
function burn(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** The part of Engine.IO's server that is looked at. */
interface Engine {
  on(
    event: 'connection',
    listener: (connection: {
      on(event: 'packet', listener: (packet: { data?: string }) => void): void
      transport: { socket: { _socket: { bytesRead: number; destroyed: boolean } } }
    }) => void,
  ): void
}
const engineOf = (app: Awaited<ReturnType<typeof startApp>>['app']): Engine =>
  (app.io as unknown as { engine: Engine }).engine

describe('work that comes in a burst', () => {
  it('is done in order, one long piece a turn', async () => {
    const turns = new Turns()
    const done: number[] = []
    const count = countTurns()
    for (let n = 0; n < 20; n++)
      turns.run(() => {
        burn(2)
        done.push(n)
        count.happened()
      })
    expect(done).toEqual([0])
    await waitFor(() => done.length === 20)
    expect(done).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(count.most()).toBe(1)
  })

  it('shares a turn where it is short, and never the turn that puts it off', async () => {
    const turns = new Turns()
    let ran = 0
    for (let n = 0; n < 3; n++) turns.run(() => void ran++)
    expect(ran).toBe(3)
    turns.later(() => void ran++)
    expect(ran).toBe(3)
    await new Promise((resolve) => setImmediate(resolve))
    expect(ran).toBe(4)

    // One that puts itself off again and again has one go in each turn.
    const count = countTurns()
    const again = (): void => {
      count.happened()
      if (count.total() < 20) turns.later(again)
    }
    turns.later(again)
    await waitFor(() => count.total() === 20)
    expect(count.most()).toBe(1)
  })

  it('goes on after a piece that failed', async () => {
    const turns = new Turns()
    const failed = new Promise((resolve) => process.prependOnceListener('uncaughtException', resolve))
    const others = process.listeners('uncaughtException').slice(1)
    for (const listener of others) process.off('uncaughtException', listener)
    onEnd(() => {
      for (const listener of others) process.on('uncaughtException', listener)
    })
    turns.later(() => {
      throw new Error('no')
    })
    const next = new Promise<void>((resolve) => turns.later(resolve))
    expect(await failed).toEqual(new Error('no'))
    await next
  })
})

describe('on a server', () => {
  it('handshakes that come together have a turn each where they take long', async () => {
    const { app, port } = await startApp({ adapter: 'none' })
    const count = countTurns()
    engineOf(app).on('connection', () => {
      burn(2)
      count.happened()
    })
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connectTcp(port, '127.0.0.1')
        onEnd(() => socket.destroy())
        await new Promise((resolve) => socket.once('connect', resolve))
        return socket
      }),
    )
    // Node accepts one connection a turn.
    await waitFor(
      async () =>
        (await new Promise((resolve) => app.server.getConnections((_error, have) => resolve(have)))) === sockets.length,
    )
    for (const socket of sockets)
      socket.write(
        'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
    await waitFor(() => count.total() === 20)
    expect(count.most()).toBe(1)
  })

  it('a connection that sends much is read a piece at a time, and loses nothing', async () => {
    const { app, url } = await startApp({ adapter: 'none', limits: { events: 1_000 } })
    const count = countTurns()
    const got: number[] = []
    engineOf(app).on('connection', (connection) =>
      connection.on('packet', ({ data }) => {
        const n = /^2\["x",(\d+)/.exec(data ?? '')?.[1]
        if (n === undefined) return
        got.push(Number(n))
        count.happened()
      }),
    )
    const ws = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    onEnd(() => ws.terminate())
    await new Promise((resolve) => ws.once('open', resolve))
    ws.send('40')
    // Whoever speaks before that is sent away.
    await new Promise((resolve) => ws.on('message', (data: Buffer) => /^40{/.test(data.toString()) && resolve(0)))
    for (let n = 0; n < 100; n++) ws.send(`42["x",${n},"${'y'.repeat(60_000)}"]`)
    await waitFor(() => got.length === 100)
    expect(got).toEqual(Array.from({ length: 100 }, (_, n) => n))
    // What had been read when it was paused, and the next read.
    expect(count.most()).toBeLessThanOrEqual(3)
  })

  it('the rest of a message that is too large is not read', async () => {
    const { app, url } = await startApp({ adapter: 'none' })
    const streams: { bytesRead: number; destroyed: boolean }[] = []
    engineOf(app).on('connection', ({ transport }) => streams.push(transport.socket._socket))
    const ws = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    ws.on('error', () => undefined)
    onEnd(() => ws.terminate())
    await new Promise((resolve) => ws.once('open', resolve))
    ws.send('x'.repeat(50 * MB))
    expect(await new Promise((resolve) => ws.once('close', resolve))).toBe(1009)
    const stream = streams[0] as { bytesRead: number; destroyed: boolean }
    await waitFor(() => stream.destroyed)
    expect(stream.bytesRead).toBeLessThan(5 * MB)
  })
})
