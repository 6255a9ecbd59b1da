import { Server } from 'socket.io'
import { expect, test } from 'vitest'
import { applyToOneRoom } from '../src/one-room.ts'

interface Finder {
  apply(options: { rooms: Set<string>; except?: Set<string> }, callback: (socket: { id: string }) => void): void
  addAll(id: string, rooms: Set<string>): void
  del(id: string, room: string): void
}

const ROOMS = ['a', 'b', 'c', 'nobody']

/** Twenty sockets, each in its own room and in some of the others. */
function startAdapter(rooms = (index: number) => ROOMS.slice(0, 3).filter((_, i) => index & (1 << i))): Finder {
  const namespace = new Server().of('/')
  const adapter = namespace.adapter as unknown as Finder
  for (let i = 0; i < 20; i++) {
    const id = `s${i}`
    // One that an adapter knows of and the namespace has no more.
    if (i !== 7) namespace.sockets.set(id, { id } as never)
    adapter.addAll(id, new Set([id, ...rooms(i)]))
  }
  return adapter
}

function found(adapter: Finder, rooms: string[], except?: string[]): string[] {
  const ids: string[] = []
  adapter.apply({ rooms: new Set(rooms), ...(except && { except: new Set(except) }) }, ({ id }) => ids.push(id))
  return ids
}

test('who is found is who Socket.IO finds, in the same order', () => {
  const theirs = startAdapter()
  const ours = startAdapter()
  applyToOneRoom(ours)
  const names = [...ROOMS, 's3', 's7']
  const sets = [[], ...names.map((name) => [name]), ['a', 'b'], ['a', 'nobody'], names]
  for (const rooms of sets)
    for (const except of [undefined, ...sets])
      expect(found(ours, rooms, except), `${rooms.join()} but ${except?.join()}`).toEqual(found(theirs, rooms, except))
  expect(found(ours, ['a'])).toHaveLength(9)
})

test('sockets that leave the room and come back meanwhile are found once, others that come not at all', () => {
  const adapter = startAdapter(() => ['a'])
  applyToOneRoom(adapter)
  const ids: string[] = []
  adapter.apply({ rooms: new Set(['a']) }, ({ id }) => {
    ids.push(id)
    adapter.del(id, 'a')
    adapter.addAll(id, new Set(['a']))
  })
  expect(ids).toEqual(Array.from({ length: 20 }, (_, i) => `s${i}`).filter((id) => id !== 's7'))
})

test('an adapter that is made in another way is left alone', () => {
  const apply = (): void => undefined
  const other = { apply, rooms: [], nsp: {} }
  applyToOneRoom(other)
  expect(other.apply).toBe(apply)
  expect(() => applyToOneRoom({})).not.toThrow()
})
