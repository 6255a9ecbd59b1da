import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type Compressor,
  addDrainStep,
  addReadinessCheck,
  createChannel,
  findCapability,
  offerCapability,
  onChannel,
  runDrainSteps,
  runReadinessChecks,
} from '../src/index.ts'

let app = Fastify()
afterEach(async () => {
  await app.close()
  app = Fastify()
})

describe('readiness', () => {
  test('without checks a server is ready', async () => {
    expect(await runReadinessChecks(app)).toEqual({ ready: true, checks: [] })
  })

  test('checks of every context are one list; a failed, a throwing and a hanging one are named with their reason', async () => {
    addReadinessCheck(app, { name: 'fine', check: () => undefined })
    await app.register(async (child) => {
      addReadinessCheck(child, { name: 'rejects', check: async () => Promise.reject(new Error('bucket missing')) })
    })
    addReadinessCheck(app, {
      name: 'throws',
      check: () => {
        throw new Error('at once')
      },
    })
    addReadinessCheck(app, { name: 'hangs', check: () => new Promise(() => undefined), timeout: 20 })
    const { ready, checks } = await runReadinessChecks(app)
    expect(ready).toBe(false)
    expect(Object.fromEntries(checks.map((check) => [check.name, check.reason]))).toEqual({
      fine: undefined,
      rejects: 'bucket missing',
      throws: 'at once',
      hangs: "check 'hangs' took longer than 20 ms",
    })
  })
})

describe('drain', () => {
  test('steps run together, once, whoever asks', async () => {
    let runs = 0
    let release: () => void = () => undefined
    const gate = new Promise<void>((resolve) => (release = resolve))
    for (const name of ['one', 'two'])
      addDrainStep(app, {
        name,
        run: async () => {
          runs++
          if (runs === 2) release()
          await gate
        },
      })
    const results = await runDrainSteps(app, 5_000)
    expect(results.map(({ name, ok }) => [name, ok])).toEqual([
      ['one', true],
      ['two', true],
    ])
    await runDrainSteps(app, 5_000)
    await app.close()
    expect(runs).toBe(2)
  })

  test('without a launcher close() runs them, and a step that hangs does not hold it', async () => {
    app = Fastify({ pluginTimeout: 100 })
    let aborted = false
    addDrainStep(app, {
      name: 'hangs',
      run: ({ signal }) => {
        signal.addEventListener('abort', () => (aborted = true))
        return new Promise(() => undefined)
      },
    })
    await app.ready()
    await app.close()
    expect(aborted).toBe(true)
  })

  test('a failing step is reported and does not stop the others', async () => {
    addDrainStep(app, {
      name: 'bad',
      run: () => {
        throw new Error('broken')
      },
    })
    addDrainStep(app, { name: 'good', run: () => undefined })
    expect(await runDrainSteps(app, 1_000)).toMatchObject([
      { name: 'bad', ok: false, reason: 'broken' },
      { name: 'good', ok: true },
    ])
  })
})

describe('capabilities', () => {
  const compressor: Compressor = {
    negotiate: () => null,
    isCompressible: () => false,
    encodeVariants: async () => ({}),
    takeOver: () => undefined,
  }

  test('are found by onReady whatever the order, and not outside their context', async () => {
    let found: unknown
    app.addHook('onReady', async function look() {
      found = findCapability(this, 'compressor')
    })
    const sameContext = Object.assign(
      async (inner: FastifyInstance) => offerCapability(inner, 'compressor', compressor),
      {
        [Symbol.for('skip-override')]: true,
      },
    )
    await app.register(sameContext)
    await app.ready()
    expect(found).toBe(compressor)

    const other = Fastify()
    await other.register(async (child) => offerCapability(child, 'compressor', compressor))
    await other.ready()
    expect(findCapability(other, 'compressor')).toBeUndefined()
    await other.close()
  })

  test('the first one in a context stays', () => {
    offerCapability(app, 'compressor', compressor)
    offerCapability(app, 'compressor', { ...compressor })
    expect(findCapability(app, 'compressor')).toBe(compressor)
  })
})

test('a channel without a subscriber does not build its message', () => {
  const channel = createChannel<{ n: number }>('kit', 'test')
  let built = 0
  const message = () => ({ n: ++built })
  channel.publish(message)
  expect(built).toBe(0)
  const seen: number[] = []
  const stop = channel.subscribe(({ n }) => seen.push(n))
  channel.publish(message)
  stop()
  channel.publish(message)
  expect(seen).toEqual([1])
})

describe('the list of channels', () => {
  test('tells those that are there and those that come, once each, until it is stopped', () => {
    const before = `before-${Date.now()}`
    createChannel('test', before)
    const seen: string[] = []
    const stop = onChannel((name) => seen.push(name))
    createChannel('test', `${before}-later`)
    createChannel('test', `${before}-later`)
    stop()
    createChannel('test', `${before}-too-late`)
    expect(seen.filter((name) => name.includes(before))).toEqual([
      `fastify-scale:test:${before}`,
      `fastify-scale:test:${before}-later`,
    ])
  })
})
