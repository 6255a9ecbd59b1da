import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { freePort, waitFor } from '../src/index.ts'

describe('waitFor', () => {
  test('gives the first truthy value, of a plain or an async condition', async () => {
    let calls = 0
    expect(await waitFor(() => ++calls === 3 && 'three')).toBe('three')
    expect(await waitFor(async () => 5)).toBe(5)
  })

  test('a condition that throws is not yet true', async () => {
    let calls = 0
    const flaky = (): boolean => {
      if (++calls < 3) throw new Error('not yet')
      return true
    }
    expect(await waitFor(flaky)).toBe(true)
  })

  test('names the condition and what was seen last', async () => {
    const code = 'SCALE_DEV_SERVICES_TIMEOUT'
    await expect(waitFor(() => false, { timeout: 50 })).rejects.toMatchObject({
      code,
      message: 'waited 50 ms in vain for: () => false (last value: false)',
    })
    await expect(
      waitFor(() => Promise.reject(new Error('down')), { timeout: 50, message: 'the server' }),
    ).rejects.toMatchObject({ code, message: 'waited 50 ms in vain for: the server (last error: down)' })
  })

  test('waits for ever where it is asked to', async () => {
    const slow = async (): Promise<string> => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return 'late'
    }
    expect(await waitFor(slow, { timeout: Infinity })).toBe('late')
  })

  test('cuts a condition that never settles', async () => {
    await expect(waitFor(() => new Promise<boolean>(() => {}), { timeout: 50 })).rejects.toThrow('it never answered')
  })
})

test('freePort gives a port that can be listened on', async () => {
  const port = await freePort()
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  expect(server.listening).toBe(true)
  await new Promise((resolve) => server.close(resolve))
})
