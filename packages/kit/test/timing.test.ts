import { expect, onTestFinished, test, vi } from 'vitest'
import { backoff, pause, withDeadline } from '../src/index.ts'

test('back-off grows to its cap and is spread over the upper half', () => {
  expect([1, 2, 3, 4, 5, 50].map((attempt) => backoff(attempt, 50, 500, () => 1))).toEqual([
    50, 100, 200, 400, 500, 500,
  ])
  expect(backoff(50, 50, 500, () => 0)).toBe(250)
})

test('a deadline rejects with a coded 503 and says what took too long', async () => {
  await expect(withDeadline(new Promise(() => undefined), 5, 'waiting')).rejects.toMatchObject({
    code: 'SCALE_KIT_DEADLINE',
    statusCode: 503,
    message: 'waiting took longer than 5 ms',
  })
  await expect(withDeadline(Promise.resolve(1), 5_000, 'x')).resolves.toBe(1)
  await expect(withDeadline(Promise.reject(new Error('own')), 5_000, 'x')).rejects.toThrow('own')
})

test('a pause ends on its signal', async () => {
  const controller = new AbortController()
  const paused = pause(1_000_000, controller.signal)
  controller.abort()
  await paused
  await pause(1_000_000, controller.signal)
})

test('a time beyond what a timer can hold is long, not over at once', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const stop = new AbortController()
  let over = 0
  withDeadline(new Promise(() => undefined), 2 ** 32, 'work').catch(() => over++)
  void pause(2 ** 32, stop.signal).then(() => over++)
  await vi.advanceTimersByTimeAsync(86_400_000)
  expect(over).toBe(0)
  stop.abort()
})
