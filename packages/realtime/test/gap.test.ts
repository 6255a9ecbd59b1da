import { waitFor } from '@fastify-scale/dev-services'
import { describe, expect, it, vi } from 'vitest'
import { Tracker } from '../src/client/tracker.ts'
import { HistoryRooms } from '../src/history.ts'
import type { Position } from '../src/index.ts'
import { FollowedRoom } from '../src/gap.ts'
import { type Entry, type Known, type Reading, parseLive } from '../src/history-store.ts'
import { onEnd } from './support.ts'

/** Reproducible randomness (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A room's log as Redis has it, without Redis: what a real server can't be made to lose at will. */
class Log {
  epoch = 'a'
  entries: Entry[] = []
  head = 0
  readonly history: number
  constructor(history: number) {
    this.history = history
  }
  add(): Entry {
    const entry = { seq: ++this.head, payload: String(this.head) }
    this.entries.push(entry)
    if (this.entries.length > this.history) this.entries.shift()
    return entry
  }
  lose(): void {
    this.epoch = String.fromCharCode(this.epoch.charCodeAt(0) + 1)
    this.entries = []
    this.head = 0
  }
  read(after: number, known: Known | undefined): Reading {
    const from = known && known.epoch !== this.epoch ? 0 : after
    return {
      epoch: this.epoch,
      head: this.head,
      entries: after < 0 ? [] : this.entries.filter(({ seq }) => seq > from).slice(0, 7),
    }
  }
}

describe('a followed room', () => {
  it('delivers in order and once, or says that it can not, whatever is lost, late, doubled or failing', async () => {
    const seeds = Array.from({ length: 300 }, (_, i) => i + 1)
    await Promise.all(seeds.map(run))

    async function run(seed: number): Promise<void> {
      const random = createRandom(seed)
      const log = new Log(20)
      const seen: string[] = []
      let at = { epoch: '', seq: 0 }
      const room = new FollowedRoom({
        async read(after, known) {
          for (let i = 0; i < random() * 4; i++) await Promise.resolve()
          if (random() < 0.2) throw new Error('broken')
          const reading = log.read(after, known)
          // The answer takes its time, and more may happen meanwhile.
          for (let i = 0; i < random() * 6; i++) await Promise.resolve()
          return reading
        },
        deliver(epoch, { seq }) {
          seen.push(`${epoch}${seq}`)
          expect([epoch, seq], `seed ${seed}: ${seen.join(' ')}`).toEqual([at.epoch, at.seq + 1])
          at = { epoch, seq }
        },
        resync(epoch, seq) {
          seen.push(`resync ${epoch}${seq}`)
          at = { epoch, seq }
        },
      })
      await room.fill()
      at = { ...(room.known as Known) }
      const late: (() => void)[] = []
      for (let step = 0; step < 60; step++) {
        if (random() < 0.02) log.lose()
        const { epoch } = log
        const entry = log.add()
        const come = (): void => room.onMessage(epoch, entry)
        const fate = random()
        if (fate < 0.5) come()
        else if (fate < 0.6) [come, come].forEach((one) => one())
        else if (fate < 0.8) late.push(come)
        if (random() < 0.3) late.splice(Math.floor(random() * late.length), 1)[0]?.()
        for (let i = 0; i < random() * 5; i++) await Promise.resolve()
      }
      for (const come of late) come()
      // The end of what was lost shows at the next look.
      await room.fill()
      expect(room.known, `seed ${seed}`).toEqual({ epoch: log.epoch, seq: log.head })
      expect(at, `seed ${seed}`).toEqual(room.known)
      room.close()
    }
  })

  it('reads what is missing as soon as a number shows it, and again where more came during the reading', async () => {
    const log = new Log(50)
    const seen: number[] = []
    let readings = 0
    let answer = (): void => undefined
    const room = new FollowedRoom({
      async read(after, known) {
        readings++
        const reading = log.read(after, known)
        if (readings > 1) await new Promise<void>((resolve) => (answer = resolve))
        return reading
      },
      deliver: (_epoch, { seq }) => seen.push(seq),
      resync: () => seen.push(-1),
    })
    await room.fill()
    log.add()
    room.onMessage('a', log.add())
    expect([seen, readings]).toEqual([[], 2])
    // Asked for after the reading was taken, and before it came: that one can't have this message.
    log.add()
    const filled = room.fill()
    answer()
    await new Promise((resolve) => setImmediate(resolve))
    answer()
    await filled
    expect(seen).toEqual([1, 2, 3])
    room.close()
  })

  it('keeps the last messages for those who come back, and nothing that is not complete', async () => {
    const log = new Log(500)
    const room = new FollowedRoom({
      read: async (after, known) => log.read(after, known),
      deliver: () => {},
      resync: () => {},
    })
    await room.fill()
    for (let i = 0; i < 150; i++) room.onMessage('a', log.add())
    expect(room.since('a', 150)).toEqual([])
    expect(room.since('a', 100)?.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, i) => 101 + i))
    expect(room.since('a', 50)).toHaveLength(100)
    expect(room.since('a', 49)).toBeUndefined()
    expect(room.since('a', 151)).toBeUndefined()
    expect(room.since('b', 150)).toBeUndefined()
    room.close()
  })
})

describe('a socket that resumes from the log', () => {
  /** A process that follows room `r`, and a socket of a client that comes to it. */
  async function startFollowing() {
    const log = new Log(500)
    let onMessage = (_channel: string, _message: string): void => undefined
    /** What happens while a reading is on its way back. */
    let during = (): unknown => undefined
    const store = {
      sharded: false,
      channel: (room: string) => room,
      read: async (_: string, _rule: unknown, after: number, known: Known) => {
        // The log is ahead of pub/sub.
        const { epoch, head } = log.read(after, known)
        const entries = after < 0 ? [] : log.entries.filter(({ seq }) => seq > after)
        void during()
        return { epoch, head, entries: entries.map(({ seq }) => ({ seq, payload: `["n",${seq}]` })) }
      },
    }
    const sent: number[] = []
    const joined = new Set<string>()
    const rooms = new HistoryRooms({
      store: store as never,
      emit: (room, _event, _data, position) => joined.has(room) && sent.push((position as Position).seq),
      members: () => joined.size,
      log: { error: () => undefined },
      checkInterval: 1_000_000,
    })
    onEnd(() => rooms.close())
    rooms.listen({
      on: (_: string, listener: typeof onMessage) => (onMessage = listener),
      add: async () => true,
      remove: () => undefined,
    } as never)
    const socket = {
      connected: true,
      rooms: joined,
      conn: { writeBuffer: [] },
      join: (room: string) => void joined.add(room),
      leave: (room: string) => void joined.delete(room),
      emit: (_event: string, _data: unknown, position: Position) => sent.push(position.seq),
    }
    const rule = { matches: () => true, history: 500, ttl: 1_000, presence: false }
    const elsewhere = { ...socket, join: () => undefined, emit: () => undefined }
    await rooms.join(elsewhere as never, 'r', rule, undefined)
    return {
      log,
      sent,
      come: ({ seq }: Entry) => onMessage('r', `a ${seq} ["n",${seq}]`),
      join: (seq: number) => rooms.join(socket as never, 'r', rule, { epoch: 'a', seq }),
      whileReading: (happens: () => unknown) => (during = happens),
    }
  }

  it('is not sent what its process has yet to deliver, and goes on from there', async () => {
    const { log, sent, come, join } = await startFollowing()
    for (let i = 0; i < 150; i++) come(log.add())
    const late = [log.add(), log.add()]
    expect(await join(10)).toEqual({ ok: true, epoch: 'a', seq: 150 })
    for (const entry of late) come(entry)
    expect(sent).toEqual(Array.from({ length: 142 }, (_, i) => 11 + i))
  })

  it.each([
    ['in memory', 4],
    ['only in the log', 150],
  ])('is ahead of its process, and is sent what comes there while that is found out: %s', async (_where, later) => {
    // Whatever promise is waited for just then.
    for (let turns = 0; turns < 10; turns++) {
      const { log, sent, come, join, whileReading } = await startFollowing()
      for (let i = 0; i < 8; i++) come(log.add())
      const late = Array.from({ length: 2 + later }, () => log.add())
      whileReading(async () => {
        for (let i = 0; i < turns; i++) await Promise.resolve()
        for (const entry of late.splice(0)) come(entry)
      })
      expect(await join(10)).not.toHaveProperty('resync')
      await new Promise((resolve) => setImmediate(resolve))
      come(log.add())
      // 9 and 10 it has had, and drops by itself.
      expect(sent.filter((seq) => seq > 10)).toEqual(Array.from({ length: later + 1 }, (_, i) => 11 + i))
    }
  })

  it('stays ahead of its process without a resync, unless the log has gone back', async () => {
    const { log, sent, come, join } = await startFollowing()
    for (let i = 0; i < 8; i++) come(log.add())
    const late = [log.add(), log.add(), log.add()]
    expect(await join(10)).toEqual({ ok: true, epoch: 'a', seq: 8 })
    for (const entry of late) come(entry)
    expect(sent).toEqual([9, 10, 11])
    expect(await join(12)).toEqual({ ok: true, epoch: 'a', seq: 11, resync: true })
  })
})

it('asks about quiet rooms once at a time while the log can not be read, and lets go of rooms that nobody is in', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onEnd(() => vi.useRealTimers())
  const log = new Log(10)
  let away = false
  let readings = 0
  let members = 1
  const rooms = new HistoryRooms({
    store: {
      sharded: false,
      channel: (room: string) => room,
      async read(_room: string, _rule: unknown, after: number, known: Known) {
        if (away) throw new Error('away')
        readings++
        return log.read(after, known)
      },
    } as never,
    emit: () => undefined,
    members: () => members,
    log: { error: () => undefined },
    checkInterval: 1_000,
  })
  onEnd(() => rooms.close())
  rooms.listen({ on: () => undefined, add: async () => true, remove: () => undefined } as never)
  const names = Array.from({ length: 500 }, (_, n) => `r${n}`)
  const rule = { matches: () => true, history: 10, ttl: 1_000, presence: false }
  for (const name of names) rooms.follow(name, rule)
  await waitFor(() => names.every((name) => rooms.known(name)))
  away = true
  vi.advanceTimersByTime(100_000)
  away = false
  readings = 0
  await waitFor(() => readings >= 500)
  // Whatever else had been asked for meanwhile would come at once.
  let last = 0
  await waitFor(() => last === (last = readings))
  expect(readings).toBe(500)

  away = true
  vi.advanceTimersByTime(1_000)
  members = 0
  vi.advanceTimersByTime(2_000)
  expect(rooms.size).toBe(0)
  // And when it is back, again.
  ;[away, readings, members] = [false, 0, 1]
  rooms.follow('r0', rule)
  await waitFor(() => readings === 1)
  await waitFor(() => {
    vi.advanceTimersByTime(1_000)
    return readings >= 3
  })
})

describe('a client', () => {
  it('tells what is new from what it had, what is missing and what can not be had', () => {
    const tracker = new Tracker()
    const at = (seq: number, epoch = 'a') => tracker.accept({ $rt: 1, room: 'r', epoch, seq })
    expect(at(5)).toBe('deliver')
    expect([at(5), at(4), at(6), at(6), at(8), at(7), at(8)]).toEqual([
      'drop',
      'drop',
      'deliver',
      'drop',
      'gap',
      'deliver',
      'deliver',
    ])
    expect(at(1, 'b')).toBe('resync')
    expect(at(2, 'b')).toBe('deliver')
    tracker.advance('r', 'b', 1)
    expect(tracker.position('r')).toEqual({ epoch: 'b', seq: 2 })
    tracker.forget('r')
    expect(tracker.position('r')).toBeUndefined()
  })
})

it('reads messages as they were published, and nothing else', () => {
  expect(parseLive('epoch 7 ["n","a b"]')).toEqual({ epoch: 'epoch', entry: { seq: 7, payload: '["n","a b"]' } })
  for (const text of ['', ' ', 'epoch', 'epoch 7', 'epoch x []', ' 7 []', 'epoch 1.5 []'])
    expect(parseLive(text)).toBeUndefined()
})
