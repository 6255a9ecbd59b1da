import { afterEach, describe, expect, it } from 'vitest'
import { createBroadcasts, type Broadcasts } from '../src/broadcast.ts'
import { createPeer, createPortPair, type Peer, type Port } from '../src/bus.ts'
import { createHub, type Hub } from '../src/hub.ts'
import { createSharedValues, type SharedValues } from '../src/shared.ts'
import { createSingletons, type Singletons } from '../src/singleton.ts'
import { waitFor } from './helpers.ts'

interface Worker {
  id: number
  peer: Peer
  /** The worker's end, for raw messages. */
  port: Port
  broadcasts: Broadcasts
  singletons: Singletons
  shared: SharedValues
  /** As when its process ends: nothing comes from it any more, then the primary sees the exit. */
  die(): void
}

const errors: unknown[] = []
const workers: Worker[] = []
const hubs: Hub[] = []
afterEach(async () => {
  errors.length = 0
  await Promise.all(workers.splice(0).map((worker) => worker.singletons.stop()))
})

function makeHub(wallClock?: () => number): Hub {
  const refuse = (): never => {
    throw new RangeError('refused')
  }
  const commands = { status: () => 'fine', reload: refuse, scale: refuse, restart: refuse, kill: refuse, page: refuse }
  const hub = createHub({ id: 'hub', commands, onError: (error) => errors.push(error), wallClock })
  hubs.push(hub)
  return hub
}

function addWorker(hub: Hub, id: number): Worker {
  const [near, far] = createPortPair()
  let dead = false
  const own: Port = {
    send: (message) => !dead && near.send(message),
    listen: (listener) => near.listen((message) => void (dead || listener(message))),
  }
  const peer = createPeer(own, (error) => errors.push(error))
  const onError = (error: unknown): void => void errors.push(error)
  const singletons = createSingletons({ peer, onError, random: () => 0 })
  const worker: Worker = {
    id,
    peer,
    port: own,
    broadcasts: createBroadcasts(peer, onError),
    singletons,
    shared: createSharedValues({ peer, singletons, onError }),
    die() {
      dead = true
      hub.detach(id)
    },
  }
  hub.attach(id, far)
  singletons.start()
  worker.shared.start()
  workers.push(worker)
  return worker
}

describe('broadcast', () => {
  it('reaches every worker, the sender too, in one order for all', async () => {
    const hub = makeHub()
    const all = [1, 2, 3].map((id) => addWorker(hub, id))
    const seen = all.map(() => [] as unknown[])
    all.forEach((worker, i) => worker.broadcasts.on('n', (data) => seen[i]?.push(data)))
    for (let n = 0; n < 30; n++) all[n % 3]?.broadcasts.broadcast('n', n)
    await waitFor(() => seen.every((list) => list.length === 30))
    expect(seen[1]).toEqual(seen[0])
    expect(seen[2]).toEqual(seen[0])
  })
})

describe('singleton', () => {
  it('runs in one worker, moves when it dies, and its fencing number goes up', async () => {
    const hub = makeHub()
    const all = [1, 2, 3].map((id) => addWorker(hub, id))
    const fences: number[] = []
    for (const worker of all) worker.singletons.add('job', ({ fencing }) => void fences.push(fencing))
    const running = (): Worker[] => workers.filter((worker) => worker.singletons.running().length > 0)
    for (let kills = 0; kills < 2; kills++) {
      await waitFor(() => running().length === 1)
      const [holder] = running() as [Worker]
      workers.splice(workers.indexOf(holder), 1)
      holder.die()
    }
    await waitFor(() => running().length === 1)
    expect(fences).toHaveLength(3)
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b))
  })

  it('does not start elsewhere before the function of the one that stops has ended', async () => {
    const hub = makeHub()
    const [a, b] = [addWorker(hub, 1), addWorker(hub, 2)]
    const events: string[] = []
    let finish: () => void = () => undefined
    const handle = a.singletons.add('job', async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      events.push('a aborted')
      await new Promise<void>((resolve) => (finish = resolve))
      events.push('a ended')
    })
    await waitFor(() => handle.running)
    b.singletons.add('job', () => void events.push('b started'))
    const stopped = handle.stop()
    await waitFor(() => events.length === 1)
    // Whatever b would do, it would have done: broadcasts travel the same way.
    const there = new Promise((resolve) => b.broadcasts.on('there', resolve))
    a.broadcasts.broadcast('there')
    await there
    expect(events).toEqual(['a aborted'])
    finish()
    await stopped
    await waitFor(() => events.length === 3)
    expect(events).toEqual(['a aborted', 'a ended', 'b started'])
  })

  it('goes to the newest worker, so that a rolling reload moves it once', async () => {
    const hub = makeHub()
    const old = [1, 2, 3].map((id) => addWorker(hub, id))
    const starts: number[] = []
    const add = (worker: Worker): void => void worker.singletons.add('job', () => void starts.push(worker.id))
    old.forEach(add)
    await waitFor(() => starts.length === 1)
    for (const worker of old) {
      add(addWorker(hub, worker.id + 10))
      await worker.singletons.stop()
      worker.die()
    }
    await waitFor(() => workers.some((worker) => worker.singletons.running().length > 0))
    expect(starts.length).toBeLessThanOrEqual(2)
  })

  it('is not started by a grant that was on its way when it was stopped', async () => {
    const hub = makeHub()
    const [a, b] = [addWorker(hub, 1), addWorker(hub, 2)]
    let running = 0
    let most = 0
    const run = async ({ signal }: { signal: AbortSignal }): Promise<void> => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      running--
    }
    b.singletons.add('job', run)
    for (let i = 0; i < 200; i++) {
      const handle = a.singletons.add('job', run)
      // At every point of the conversation once.
      for (let tick = 0; tick < i % 12; tick++) await Promise.resolve()
      void handle.stop()
    }
    await waitFor(() => b.singletons.running().length === 1)
    expect(most).toBe(1)
    expect(hub.places.status()).toMatchObject([{ name: 'job', holder: 2, waiting: 0 }])
  })

  it('can be added again at once after a stop, and runs when the one before has ended', async () => {
    const worker = addWorker(makeHub(), 1)
    let finish: () => void = () => undefined
    const first = worker.singletons.add('job', () => new Promise<void>((resolve) => (finish = resolve)))
    await waitFor(() => first.running)
    const stopped = first.stop()
    const second = worker.singletons.add('job', () => undefined)
    await new Promise((resolve) => setImmediate(resolve))
    expect(second.running).toBe(false)
    finish()
    await stopped
    await waitFor(() => second.running)
  })

  it('is not taken on by a worker that drains', async () => {
    const hub = makeHub()
    const [a, b] = [addWorker(hub, 1), addWorker(hub, 2)]
    await a.singletons.stop()
    a.singletons.add('late', () => undefined)
    b.singletons.add('late', () => undefined)
    await waitFor(() => b.singletons.running().length === 1)
    expect(hub.places.status()).toMatchObject([{ holder: 2, waiting: 0 }])
  })

  it('has fencing numbers above those of an earlier launcher', async () => {
    let clock = 5_000
    const first = makeHub(() => clock)
    const fences: number[] = []
    addWorker(first, 1).singletons.add('job', ({ fencing }) => void fences.push(fencing))
    await waitFor(() => fences.length === 1)
    clock = 6_000
    addWorker(
      makeHub(() => clock),
      1,
    ).singletons.add('job', ({ fencing }) => void fences.push(fencing))
    await waitFor(() => fences.length === 2)
    expect(fences[1]).toBeGreaterThan(fences[0] as number)
  })
})

describe('shared', () => {
  it('is loaded by one worker, read by all, and there at once for a worker that comes later', async () => {
    const hub = makeHub()
    let loads = 0
    const load = (): number => ++loads
    const values = [1, 2, 3].map((id) => addWorker(hub, id).shared.add('n', { every: '1h' }, load))
    await waitFor(() => values.every((value) => value.loaded))
    const late = addWorker(hub, 4).shared.add('n', { every: '1h' }, load)
    await waitFor(() => late.loaded)
    expect([...values, late].map((value) => value.value)).toEqual([1, 1, 1, 1])
    expect(loads).toBe(1)
  })

  it('goes on being loaded, in step, when the worker that loads dies', async () => {
    const hub = makeHub()
    const loaders: number[] = []
    for (const id of [1, 2, 3]) {
      addWorker(hub, id).shared.add('n', { every: 20 }, () => {
        loaders.push(id)
        return loaders.length
      })
    }
    await waitFor(() => loaders.length >= 3)
    const first = loaders[0] as number
    const index = workers.findIndex((worker) => worker.id === first)
    workers.splice(index, 1)[0]?.die()
    // The 'dead' worker runs on in this process, unheard.
    const others = (): number[] => loaders.filter((id) => id !== first)
    await waitFor(() => others().length >= 4)
    expect(new Set(others()).size).toBe(1)
  })

  it('refreshes from any worker, and one refresh serves all who ask', async () => {
    const hub = makeHub()
    let loads = 0
    const values = [1, 2].map((id) =>
      addWorker(hub, id).shared.add('n', { every: '1h' }, async () => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        return ++loads
      }),
    )
    await waitFor(() => values.every((value) => value.loaded))
    const fresh = await Promise.all([values[0]?.refresh(), values[1]?.refresh(), values[1]?.refresh()])
    expect(Math.min(...(fresh as number[]))).toBeGreaterThanOrEqual(2)
    expect(loads).toBeLessThanOrEqual(3)
    await waitFor(() => values.every((value) => value.value === loads))
  })

  it('tells all workers why a load failed', async () => {
    const hub = makeHub()
    const values = [1, 2].map((id) =>
      addWorker(hub, id).shared.add('n', { every: 10 }, () => {
        throw new Error('away')
      }),
    )
    await waitFor(() => values.every((value) => value.error === 'away'))
    expect(() => values[0]?.value).toThrow('away')
  })

  it('does not go back to an older value', async () => {
    const hub = makeHub()
    const worker = addWorker(hub, 1)
    const value = worker.shared.add('n', { every: '1h' }, () => 'new')
    await waitFor(() => value.loaded)
    worker.shared.take({ name: 'n', json: '"old"', at: 1, fencing: 1 })
    expect(value.value).toBe('new')
    worker.shared.take({ name: 'n', json: '{broken', at: 1, fencing: Number.MAX_SAFE_INTEGER })
    expect(value.value).toBe('new')
  })
})

describe('the bus', () => {
  it('carries errors with their code, and gives up on what is not answered', async () => {
    const hub = makeHub()
    const worker = addWorker(hub, 1)
    expect(await worker.peer.call('cluster.status')).toBe('fine')
    await expect(worker.peer.call('cluster.reload')).rejects.toThrow('refused')
    await expect(worker.peer.call('nonsense')).rejects.toMatchObject({ code: 'SCALE_CLUSTER_CALL_FAILED' })
    hub.peer(1)?.onCall('never', () => new Promise(() => undefined))
    await expect(worker.peer.call('never', null, 20)).rejects.toMatchObject({
      code: 'SCALE_CLUSTER_NO_ANSWER',
      statusCode: 503,
    })
    const waiting = worker.peer.call('never')
    worker.peer.close()
    await expect(waiting).rejects.toMatchObject({ code: 'SCALE_CLUSTER_NO_ANSWER' })
  })

  it('is not hurt by corrupt messages from a worker', async () => {
    const hub = makeHub()
    const bad = addWorker(hub, 1)
    const good = addWorker(hub, 2)
    const bus = 'fastify-scale.bus.1'
    const junk = [undefined, null, 0, '', 'x', [], {}, { bus }, Number.NaN, { name: {} }, { topic: 1 }, { ticket: 'x' }]
    const names = ['singleton.want', 'singleton.leave', 'broadcast', 'shared.value', 'shared.error', 'shared.get', '']
    for (const message of junk) bad.port.send(message as object)
    for (const kind of ['note', 'call', 'answer', 'other', 7])
      for (const name of [...names, '__proto__', 'constructor'])
        for (const data of junk)
          for (const error of [undefined, null, 'x', { message: {} }])
            bad.port.send({ bus, kind, name, id: 1, data, error })
    const seen: unknown[] = []
    good.broadcasts.on('after', (data) => seen.push(data))
    good.broadcasts.broadcast('after', 1)
    const value = good.shared.add('v', { every: '1h' }, () => 'v')
    await waitFor(() => seen.length === 1 && value.loaded)
    expect(await good.peer.call('cluster.status')).toBe('fine')
  })
})
