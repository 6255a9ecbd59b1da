import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { createLineFeed, type LineFeed } from '../src/control/line-feed.ts'
import { createOrders } from '../src/control/orders.ts'
import { startControlServer } from '../src/control/server.ts'
import type { Primary } from '../src/primary/types.ts'
import { waitFor } from './helpers.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanups.splice(0).reverse()) await step()
})

/** A control socket, and a primary that is nothing but its events. */
async function start(): Promise<{ path: string; lines: LineFeed; events: EventEmitter }> {
  const dir = mkdtempSync(join(tmpdir(), 'fs-logs-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const lines = createLineFeed()
  const events = new EventEmitter()
  const primary = { name: 'app', events, tail: () => undefined } as unknown as Primary
  const handlers = createOrders(primary, {} as never, lines, async () => undefined)
  const server = await startControlServer(join(dir, 'app.sock'), 'app', handlers)
  cleanups.push(server.close)
  return { path: server.path, lines, events }
}

/** Follows the lines: gives those that came so far. */
async function follow(path: string, lines: LineFeed): Promise<{ socket: Socket; came: string[] }> {
  const before = lines.followers
  const socket = connect(path)
  cleanups.push(() => socket.destroy())
  await once(socket, 'connect')
  const came: string[] = []
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (text + chunk).split('\n')
    text = parts.pop() as string
    for (const part of parts) came.push((JSON.parse(part) as { news: string }).news)
  })
  socket.write('{"v":1,"order":"logs","argument":{"last":0,"follow":true}}\n')
  await waitFor(() => lines.followers > before)
  return { socket, came }
}

test('one who follows and does not read costs the launcher a few MB, and hears then what it missed', async () => {
  const { path, lines } = await start()
  const stopped = await follow(path, lines)
  const other = await follow(path, lines)
  stopped.socket.pause()
  const size = 10_000
  const pushed = 3_000
  for (let i = 0; i < pushed; i++) {
    lines.push(`${String(i).padEnd(size)}\n`)
    await turn()
  }
  await waitFor(() => other.came.length === pushed)
  stopped.socket.resume()
  const missedOf = (line: string): number => Number(/"msg":"(\d+) lines were left out/.exec(line)?.[1] ?? 0)
  await waitFor(() => stopped.came.some((line) => missedOf(line) > 0))
  const missed = stopped.came.map(missedOf).reduce((sum, one) => sum + one)
  const read = stopped.came.length - 1
  expect(read + missed).toBe(pushed)
  // What the kernel holds for it comes on top of what the launcher does.
  expect(read * size).toBeLessThan(8_000_000)
  lines.push('after\n')
  await waitFor(() => stopped.came.at(-1) === 'after\n')
}, 60_000)

test('those who followed leave nothing behind', async () => {
  const { path, lines, events } = await start()
  for (let i = 0; i < 12; i++) {
    const { socket } = await follow(path, lines)
    socket.destroy()
    await waitFor(() => lines.followers === 0)
  }
  expect(events.listenerCount('stopping')).toBe(0)
})
