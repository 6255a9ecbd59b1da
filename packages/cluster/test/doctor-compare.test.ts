import { describe, expect, test } from 'vitest'
import { compareWorkers } from '../src/doctor/compare.ts'

const answers = (...bodies: unknown[]) => bodies.map((body) => ({ status: 200, type: 'json', body, cookies: [] }))

describe('the answers of workers to one question, two at once and one a second later', () => {
  test.each<[string, unknown[][], 'same' | 'differs' | 'counts']>([
    [
      'the same',
      [
        ['a', 'a', 'a'],
        ['a', 'a', 'a'],
      ],
      'same',
    ],
    [
      'a counter in each',
      [
        [1, 2, 3],
        [1, 2, 3],
      ],
      'counts',
    ],
    [
      'a counter of all',
      [
        [1, 2, 5],
        [3, 4, 6],
      ],
      'same',
    ],
    [
      'a clock in whole seconds, of processes that began together',
      [
        [7, 7, 9],
        [7, 7, 9],
      ],
      'same',
    ],
    [
      'a number of its own in each',
      [
        ['a', 'a', 'a'],
        ['b', 'b', 'b'],
      ],
      'differs',
    ],
  ])('%s', (_what, workers, expected) => {
    expect(compareWorkers(workers.map((bodies) => answers(...bodies)))).toBe(expected)
  })
})
