import { expect, test } from 'vitest'
import { Deadlines } from '../src/deadline.ts'
import { KIND, decodeEntry, encodeEntry } from '../src/entry.ts'
import { Memory } from '../src/l1.ts'

const entry = (payload: Buffer, tags: string[] = []) => ({
  kind: KIND.serialized,
  compressed: false,
  clock: 1,
  createdAt: 2,
  freshUntil: Date.now() + 60_000,
  staleWhileRevalidate: 3,
  staleIfError: 4,
  tags,
  payload,
})

test('an entry is read as it was written', () => {
  for (const tags of [[], ['a'], ['a', 'ü', 'x'.repeat(300)]]) {
    const written = entry(Buffer.from('{"a":"ü"}'), tags)
    for (let i = 0; i < 2; i++) {
      const read = decodeEntry(encodeEntry(written))
      if (typeof read === 'string') throw new TypeError(read)
      expect({ ...written, payload: read.text() }).toEqual({
        kind: read.kind,
        compressed: read.compressed,
        clock: read.clock,
        createdAt: read.createdAt,
        freshUntil: read.freshUntil,
        staleWhileRevalidate: read.staleWhileRevalidate,
        staleIfError: read.staleIfError,
        tags: read.tags,
        payload: '{"a":"ü"}',
      })
      expect(read.payload.toString()).toBe('{"a":"ü"}')
    }
  }
})

test('what is kept does not keep the rest of what was read from the socket', () => {
  const memory = new Memory({ maxSize: 1_000_000, maxAge: 60_000 })
  memory.trusted = true
  // As a reply lies in a chunk of 64 KB.
  const bytes = encodeEntry(entry(Buffer.from('"value"')))
  const chunk = Buffer.alloc(65_536)
  bytes.copy(chunk, 30_000)
  const read = decodeEntry(chunk.subarray(30_000, 30_000 + bytes.length))
  if (typeof read === 'string') throw new TypeError(read)
  memory.keep('k', memory.open('k'), read, [], Date.now())
  const held = memory.get('k', performance.now())
  expect(held?.entry.payload.toString()).toBe('"value"')
  expect(held?.entry.payload.buffer.byteLength).toBeLessThan(1_000)
})

test('deadlines: what was answered is let go of, what was not is told in order, each once', async () => {
  const deadlines = new Deadlines(50)
  const told: number[] = []
  const waiters = Array.from({ length: 5_000 }, (_, i) => {
    const waiter = { at: 0, done: false, late: () => void told.push(i) }
    deadlines.add(waiter)
    if (i % 1_000 !== 7) waiter.done = true
    return waiter
  })
  expect(waiters.length).toBe(5_000)
  await expect.poll(() => told.length).toBe(5)
  expect(told).toEqual([7, 1_007, 2_007, 3_007, 4_007])
  expect(await deadlines.guard(Promise.resolve(1), () => new RangeError('late'))).toBe(1)
  await expect(deadlines.guard(new Promise(() => undefined), () => new RangeError('late'))).rejects.toThrow(RangeError)
})
