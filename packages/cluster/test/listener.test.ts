import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Listener, openListener } from '../src/primary/listener.ts'
import { freePort, waitFor } from './helpers.ts'

// What a name resolves to is the machine's own matter.
vi.mock('node:dns/promises')

const listeners: Listener[] = []
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.close()
})

async function listen(port: number, ...found: string[]): Promise<Listener> {
  const answer = found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  vi.mocked(lookup).mockResolvedValue(answer as never)
  const listener = await openListener({ host: 'name.test', port, backlog: 16 })
  listeners.push(listener)
  return listener
}

describe('a name', () => {
  test.each([
    ['a port', freePort],
    ['any free port', async () => 0],
  ])('that resolves to an address twice is listened on once, at %s', async (_, port) => {
    const listener = await listen(await port(), '127.0.0.1', '127.0.0.2', '127.0.0.1')
    expect(listener.addresses).toMatchObject([{ address: '127.0.0.1' }, { address: '127.0.0.2' }])
    let accepted = 0
    listener.accept((handle) => {
      accepted += 1
      handle.close()
    })
    for (const address of listener.addresses)
      if ('port' in address) connect(address.port, address.address).on('error', () => undefined)
    await waitFor(() => accepted === 2)
  })
})
