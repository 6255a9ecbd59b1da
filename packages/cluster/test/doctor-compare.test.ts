import { describe, expect, test } from 'vitest'
import { compareWorkers } from '../src/doctor/compare.ts'

/** One answer for each letter. */
const answers = (bodies: string) => Array.from(bodies, (body) => ({ status: 200, type: 'text', body, cookies: [] }))

describe('the answers of workers to one question, two at once and one a second later', () => {
  test.each<[string, string[], 'same' | 'differs' | 'counts']>([
    ['the same', ['aaa', 'aaa'], 'same'],
    ['a counter in each', ['123', '123'], 'counts'],
    ['a counter of all', ['125', '346'], 'same'],
    ['a clock in whole seconds, of processes that began together', ['779', '779'], 'same'],
    ['a number of its own in each', ['aaa', 'bbb'], 'differs'],
  ])('%s', (_what, workers, expected) => {
    expect(compareWorkers(workers.map(answers))).toBe(expected)
  })
})
