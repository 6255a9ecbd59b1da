import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DevServicesError } from './errors.ts'

export interface WaitOptions {
  /** ms after which the wait fails, `Infinity` for never. Default 10 000. */
  timeout?: number
  /** ms between two looks. Default 20. */
  interval?: number
  /** What is being waited for, for the error message. Default: the source of the condition. */
  message?: string
}

/** A timer that is given more ms fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1

type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>

/**
 * Polls `condition` until it gives a truthy value, and resolves with that value.
 * A condition that throws counts as 'not yet'; one that never settles is cut by the timeout as well.
 * @throws SCALE_DEV_SERVICES_TIMEOUT with the last value or error seen
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions = {}): Promise<Truthy<T>> {
  const { timeout = 10_000, interval = 20 } = options
  const deadline = performance.now() + timeout
  const late = Symbol('late')
  let last = 'it never answered'
  for (;;) {
    const timer = new AbortController()
    try {
      const left = Math.min(LONGEST_TIMER, Math.max(1, deadline - performance.now()))
      const value = await Promise.race([
        (async () => condition())(),
        sleep(left, late, { signal: timer.signal }).catch(() => late),
      ])
      if (value !== late) {
        if (value) return value as Truthy<T>
        last = `last value: ${String(value)}`
      }
    } catch (error) {
      last = `last error: ${error instanceof Error ? error.message : String(error)}`
    } finally {
      timer.abort()
    }
    if (performance.now() >= deadline) {
      const what = options.message ?? condition.toString().replace(/\s+/g, ' ').slice(0, 200)
      throw new DevServicesError('SCALE_DEV_SERVICES_TIMEOUT', `waited ${timeout} ms in vain for: ${what} (${last})`)
    }
    await sleep(interval)
  }
}

/** A loopback TCP port that is free now. Another process may take it before you do: be ready to try again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
