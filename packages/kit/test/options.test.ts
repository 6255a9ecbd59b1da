import { describe, expect, test } from 'vitest'
import { checkKnown, parseDuration, parseInteger, parseSize } from '../src/index.ts'

const code = 'SCALE_KIT_OPTION'

describe('durations', () => {
  test.each([
    [250, 250],
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['12h', 43_200_000],
    ['14d', 1_209_600_000],
    [' 5 m ', 300_000],
  ])('%s is %d ms', (value, expected) => {
    expect(parseDuration(value, { name: 'ttl' })).toBe(expected)
  })

  test.each([
    0,
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1.5,
    '',
    '5',
    '5 weeks',
    's',
    '-5s',
    '1e3s',
    '5S',
    null,
    undefined,
    {},
    [],
  ])('refuses %s and names the option', (value) => {
    expect(() => parseDuration(value as string, { name: 'ttl' })).toThrow(expect.objectContaining({ code }))
    expect(() => parseDuration(value as string, { name: 'ttl' })).toThrow(/'ttl'/)
  })

  test('keeps to bounds', () => {
    expect(parseDuration(0, { name: 'grace', min: 0 })).toBe(0)
    expect(() => parseDuration('2h', { name: 'ttl', max: 3_600_000 })).toThrow(/from 1 to 3600000/)
  })
})

describe('sizes', () => {
  test.each([
    [512, 512],
    ['512B', 512],
    ['100KB', 102_400],
    ['25MB', 26_214_400],
    ['25mb', 26_214_400],
    ['1GB', 1_073_741_824],
  ])('%s is %d bytes', (value, expected) => {
    expect(parseSize(value, { name: 'maxBytes' })).toBe(expected)
  })

  test.each(['25 megabytes', '25', 'MB', -1, '0MB'])('refuses %s', (value) => {
    expect(() => parseSize(value, { name: 'maxBytes' })).toThrow(expect.objectContaining({ code }))
  })
})

test('whole numbers', () => {
  expect(parseInteger(3, { name: 'queue' })).toBe(3)
  for (const value of [0, 1.5, '3', Number.NaN])
    expect(() => parseInteger(value as number, { name: 'queue' })).toThrow(/'queue'/)
})

test('a misspelt option is refused by name', () => {
  expect(() => checkKnown({ tll: 1 }, ['ttl', 'redis'], '@fastify-scale/cache')).toThrow(
    "unknown option 'tll' of @fastify-scale/cache; known are ttl, redis",
  )
})

test('a package can bring its own code', () => {
  class Mine extends Error {}
  expect(() => parseDuration('x', { name: 'ttl', fail: (message) => new Mine(message) })).toThrow(Mine)
})
