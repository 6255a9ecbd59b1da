import { describe, expect, test } from 'vitest'
import { negotiate, parseAcceptEncoding } from '../src/negotiate.ts'

describe('negotiation of Accept-Encoding', () => {
  // [header, what was made, what is chosen]; RFC 9110, 12.5.3
  const table: [string | undefined, string[], string | null][] = [
    [undefined, ['gzip'], 'identity'],
    ['', ['gzip'], 'identity'],
    ['gzip', ['gzip'], 'gzip'],
    ['GZip', ['gzip'], 'gzip'],
    ['x-gzip', ['gzip'], 'gzip'],
    ['gzip', [], 'identity'],
    ['br', ['gzip'], 'identity'],
    ['gzip, deflate, br, zstd', ['gzip'], 'gzip'],
    ['gzip, deflate, br, zstd', ['br', 'gzip'], 'br'],
    ['gzip, deflate, br, zstd', ['gzip', 'br'], 'gzip'],
    ['gzip;q=0.5, br;q=0.9', ['gzip', 'br'], 'br'],
    ['gzip;q=0.9, br;q=0.5', ['br', 'gzip'], 'gzip'],
    ['gzip ; q=0.9 , br;Q=1.000', ['gzip', 'br'], 'br'],
    ['gzip;q=0', ['gzip'], 'identity'],
    ['gzip;q=0.000', ['gzip'], 'identity'],
    ['gzip;q=0.001', ['gzip'], 'gzip'],
    ['identity', ['gzip'], 'identity'],
    ['identity, gzip', ['gzip'], 'gzip'],
    ['gzip;q=0.5, identity', ['gzip'], 'identity'],
    ['gzip;q=0.5, identity;q=0.5', ['gzip'], 'gzip'],
    ['identity;q=0', ['gzip'], null],
    ['identity;q=0, gzip', ['gzip'], 'gzip'],
    ['identity;q=0, br', ['gzip'], null],
    ['*', ['gzip'], 'gzip'],
    ['*', ['br', 'gzip'], 'br'],
    ['*', [], 'identity'],
    ['*;q=0', ['gzip'], null],
    ['*;q=0, gzip', ['gzip'], 'gzip'],
    ['*;q=0, identity', ['gzip'], 'identity'],
    ['*;q=0, identity;q=0.1', ['gzip'], 'identity'],
    ['gzip;q=0, *', ['gzip'], 'identity'],
    ['gzip;q=0, *', ['gzip', 'br'], 'br'],
    ['br;q=0.3, *;q=0.8', ['br', 'gzip'], 'gzip'],
    ['identity;q=0, *', ['gzip'], 'gzip'],
    ['identity;q=0, *', [], null],
    // Malformed members count as not there.
    ['gzip;q=2', ['gzip'], 'identity'],
    ['gzip;q=-1', ['gzip'], 'identity'],
    ['gzip;q=0.1234', ['gzip'], 'identity'],
    ['gzip;q=', ['gzip'], 'identity'],
    ['gzip;level=9', ['gzip'], 'identity'],
    ['gz ip', ['gzip'], 'identity'],
    [',,, gzip ,,', ['gzip'], 'gzip'],
    ['gzip;q=0, gzip', ['gzip'], 'identity'],
    ['__proto__, constructor', ['gzip'], 'identity'],
  ]
  test.each(table)('%j of %j is %j', (header, available, expected) => {
    expect(negotiate(header, available)).toBe(expected)
    // A second time, from the cache.
    expect(negotiate(header, available)).toBe(expected)
  })

  test('whatever a client sends, the answer is one that was made, identity or null, and never a refused one', () => {
    const parts = [
      'gzip',
      'br',
      '*',
      'identity',
      ';',
      'q=',
      '0',
      '1',
      '0.5',
      ',',
      ' ',
      '\t',
      '=',
      'é',
      '\0',
      'Q=0',
      ';q=0',
      ';q=0.5',
    ]
    const refused: string[] = []
    const chosenOnes = new Set<string | null>()
    let seed = 7
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return seed % below
    }
    for (let i = 0; i < 20_000; i++) {
      const header = Array.from({ length: random(12) }, () => parts[random(parts.length)]).join('')
      const chosen = negotiate(header, ['br', 'gzip'])
      chosenOnes.add(chosen)
      const weights = parseAcceptEncoding(header)
      if (chosen !== null && weights.get(chosen) === 0) refused.push(header)
    }
    expect(refused).toEqual([])
    expect(chosenOnes).toEqual(new Set(['br', 'gzip', 'identity', null]))
  })

  test('hostile headers cost linear time', () => {
    const start = process.cpuUsage()
    for (const unit of [',', ' ', '\t;', 'a,', ';q=0', '*']) negotiate(unit.repeat(16_384), ['gzip'])
    const { user, system } = process.cpuUsage(start)
    expect((user + system) / 1_000).toBeLessThan(1_000)
  })
})
