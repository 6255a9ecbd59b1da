import { expect, test } from 'vitest'
import { callListener } from '../src/index.ts'

test('a listener is called at once, and what it throws or rejects with is told and ends nothing', async () => {
  const told: unknown[] = []
  const done: string[] = []
  const call = (listener: () => unknown): void => callListener(listener, (error) => void told.push(error))
  call(() => done.push('plain'))
  expect(done).toEqual(['plain'])
  call(() => {
    throw 'thrown'
  })
  call(async () => {
    await Promise.resolve()
    throw 'rejected'
  })
  await new Promise(setImmediate)
  expect(told).toEqual(['thrown', 'rejected'])
})
