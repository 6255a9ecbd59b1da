import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createFirstSeen } from '../src/first-seen.ts'

const token = (): string => `x.y.${randomBytes(32).toString('base64url')}`

describe('tokens that were seen before', () => {
  it('are known from the second time on', () => {
    const cameBefore = createFirstSeen(10)
    const one = token()
    expect([cameBefore(one), cameBefore(one), cameBefore(one)]).toEqual([false, true, true])
  })

  it.each([10, 1_000, 10_000])('are nearly all still known after as many others as the cache holds (%i)', (size) => {
    const cameBefore = createFirstSeen(size)
    const tokens = Array.from({ length: size }, token)
    expect(tokens.filter(cameBefore).length).toBeLessThan(2)
    expect(tokens.filter(cameBefore).length).toBeGreaterThan(size * 0.7)
  })

  it('differ in the last characters of all algorithms', () => {
    for (const bytes of [32, 64, 256, 384, 512]) {
      const cameBefore = createFirstSeen(10_000)
      const others = Array.from({ length: 5_000 }, () => randomBytes(bytes).toString('base64url'))
      expect(others.filter(cameBefore).length).toBeLessThan(2)
    }
  })

  it('take bounded memory, however many are kept', () => {
    const before = process.memoryUsage().arrayBuffers
    const tables = Array.from({ length: 4 }, () => createFirstSeen(10_000_000))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThanOrEqual(4 * 4_194_304 + 65_536)
    expect(tables.map((cameBefore) => cameBefore(token()))).toEqual([false, false, false, false])
  })
})
