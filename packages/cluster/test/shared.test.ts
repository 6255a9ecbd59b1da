import { afterEach, describe, expect, it } from 'vitest'
import { waitFor } from './helpers.ts'
import { addWorker, errors, makeHub, stopWorkers, workers } from './hub-worker.ts'

afterEach(stopWorkers)

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

  it('ends no process where an async listener rejects: that is reported', async () => {
    const value = addWorker(makeHub(), 1).shared.add('n', { every: '1h' }, () => 1)
    value.onChange(async () => {
      throw new RangeError('database is away')
    })
    await waitFor(() => errors.length === 1)
    expect(errors[0]).toMatchObject({ message: 'database is away' })
    expect(value.value).toBe(1)
  })

  it('begins nowhere else while a load that a refresh began goes on in a worker that drains', async () => {
    const hub = makeHub()
    let source = 'old'
    let held = false
    let [active, most] = [0, 0]
    let finish: () => void = () => undefined
    const load = async (): Promise<string> => {
      const data = source
      most = Math.max(most, ++active)
      if (held) await new Promise<void>((resolve) => (finish = resolve))
      active--
      return data
    }
    const one = addWorker(hub, 1)
    const first = one.shared.add('n', { every: '1h' }, load)
    await waitFor(() => first.loaded)
    const two = addWorker(hub, 2).shared.add('n', { every: '1h' }, load)
    await waitFor(() => two.loaded)

    held = true
    source = 'new'
    const begun = two.refresh()
    await waitFor(() => active === 1)
    // One more that waits behind it, and one that comes when its worker is leaving.
    const behind = two.refresh()
    await one.peer.call('cluster.status')
    const stopped = one.singletons.stop()
    const late = two.refresh()
    await one.peer.call('cluster.status')
    held = false
    finish()
    await stopped
    expect(active).toBe(0)
    expect(await Promise.all([begun, behind, late])).toEqual(['new', 'new', 'new'])
    expect(most).toBe(1)
  })

  it('says on refresh that nobody loads it, where that stays so', async () => {
    const hub = makeHub()
    const [one, two] = [addWorker(hub, 1), addWorker(hub, 2)]
    const value = one.shared.add('n', { every: '1h' }, () => 1)
    await waitFor(() => value.loaded)
    await one.singletons.stop()
    expect(two.singletons.running()).toEqual([])
    await expect(value.refresh()).rejects.toMatchObject({ code: 'SCALE_CLUSTER_LOAD_FAILED' })
  })
})
