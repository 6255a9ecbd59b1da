import { describe, expect, it } from 'vitest'
import { decodeBase64url } from '../src/base64url.ts'

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.split('')

describe('decodeBase64url', () => {
  it('takes what an encoder makes of any bytes', () => {
    for (let length = 1; length < 300; length++) {
      const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 89 + length * 31) & 0xff))
      expect(decodeBase64url(bytes.toString('base64url'))).toEqual(bytes)
    }
  })

  it('takes one of the spellings of one or two bytes', () => {
    for (const [start, bits] of [
      ['A', 4],
      ['AA', 2],
    ] as const) {
      const good = DIGITS.filter((digit) => decodeBase64url(start + digit) !== undefined)
      expect(good).toEqual(DIGITS.filter((_, i) => i % 2 ** bits === 0))
    }
  })

  it('refuses every character of no digit, wherever it stands', () => {
    for (let code = 0; code < 0x1_00_00; code++) {
      const char = String.fromCharCode(code)
      if (DIGITS.includes(char)) continue
      // Such a one may have the low byte of a digit, or be left out by the decoder.
      for (const text of [`${char}AAA`, `AA${char}A`, `AAA${char}`, `AAAA${char}`, char])
        if (decodeBase64url(text) !== undefined) expect.fail(`${JSON.stringify(text)} was decoded`)
    }
  })

  it.each(['', 'A', 'AAAAA', 'AA==', 'AAA=', 'AAAA=', 'AAAA\n', ' AAAA', 'AA AA', '+AAA', '/AAA'])(
    'refuses %j',
    (text) => {
      expect(decodeBase64url(text)).toBeUndefined()
    },
  )
})
