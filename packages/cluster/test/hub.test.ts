import { afterEach, describe, expect, it } from 'vitest'
import { waitFor } from './helpers.ts'
import { addWorker, errors, makeHub, stopWorkers, type Worker, workers } from './hub-worker.ts'

afterEach(stopWorkers)

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

  it('ends no process where an async listener rejects: that is reported', async () => {
    const worker = addWorker(makeHub(), 1)
    const seen: unknown[] = []
    worker.broadcasts.on('n', async () => {
      throw new RangeError('database is away')
    })
    worker.broadcasts.on('n', (data) => void seen.push(data))
    worker.broadcasts.broadcast('n', 1)
    await waitFor(() => seen.length === 1 && errors.length === 1)
    expect(errors[0]).toMatchObject({ message: 'database is away' })
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
