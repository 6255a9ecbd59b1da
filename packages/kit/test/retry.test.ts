import { expect, test } from 'vitest'
import { isRefusal, retryWithin } from '../src/index.ts'

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })

test('a connection that breaks is no reason to give up, until the time is over', async () => {
  const lefts: number[] = []
  const result = await retryWithin(5_000, async (left) => {
    lefts.push(left)
    if (lefts.length < 3) throw new Error('Connection is closed.')
    return 'done'
  })
  expect(result).toBe('done')
  expect(lefts).toEqual(lefts.toSorted((a, b) => b - a))
  let attempts = 0
  const failing = retryWithin(100, async () => {
    throw new Error(`attempt ${++attempts}`)
  })
  await expect(failing).rejects.toThrow(/^attempt \d/)
  expect(attempts).toBeGreaterThan(1)
})

test('what Redis refuses is not asked again', async () => {
  let attempts = 0
  const refused = retryWithin(5_000, async () => {
    attempts++
    throw reply('WRONGTYPE Operation against a key holding the wrong kind of value')
  })
  await expect(refused).rejects.toThrow('WRONGTYPE')
  expect(attempts).toBe(1)
  expect([reply('NOAUTH'), reply('LOADING'), reply('READONLY x'), new Error('NOAUTH'), 'text'].map(isRefusal)).toEqual([
    true,
    false,
    false,
    false,
    false,
  ])
})
