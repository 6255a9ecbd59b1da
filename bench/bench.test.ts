import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { barChart, lineChart } from './lib/chart.mjs'
import { describe, isRegression, judge } from './lib/goals.mjs'
import { runComparison } from './lib/rounds.mjs'
import { inOrder } from './lib/report.mjs'
import { alone, sideBySide } from './lib/side-by-side.mjs'
import { ratios, summary } from './lib/stats.mjs'

const comparisons = readdirSync(new URL('comparisons/', import.meta.url)).map((file) => file.slice(0, -4))
const metrics = [{ key: 'cpu', label: 'CPU', better: 'low' }]

function comparison(a: number[], b: number[], failures = 0) {
  const order: string[] = []
  const next = (name: string, values: number[]) => async () => {
    order.push(name)
    return { cpu: values.shift(), failures }
  }
  return {
    order,
    run: { name: 'x', title: 'X & Y', metrics, base: 'b', contenders: { a: next('a', [...a]), b: next('b', [...b]) } },
  }
}

test('contenders run interleaved and the order turns', async () => {
  const { order, run } = comparison([1, 2, 3], [2, 2, 2])
  const result = await runComparison(run, { rounds: 3, log: () => undefined })
  expect(order).toEqual(['a', 'b', 'b', 'a', 'a', 'b'])
  expect(result.contenders['a']?.['cpu']).toEqual({ median: 2, min: 1, max: 3, rounds: [1, 2, 3] })
})

test('a failed request is not a result', async () => {
  const { run } = comparison([1], [1], 3)
  await expect(runComparison(run, { rounds: 1, log: () => undefined })).rejects.toThrow(
    'a had 3 failed requests in round 1: not a result',
  )
})

/** A contender that takes turns, and writes down what it is asked for. */
function inTurn(name: string, values: number[], asked: string[], { failures = 0, breaks = false } = {}) {
  return async () => {
    asked.push(`start ${name}`)
    return {
      warm: async () => void asked.push(`warm ${name}`),
      async turn() {
        asked.push(name)
        if (breaks) throw new Error(`${name} broke`)
        return { cpu: values.shift(), failures }
      },
      last: async () => ({ memory: 7, failures }),
      stop: async () => void asked.push(`stop ${name}`),
    }
  }
}

test('contenders that take turns are all up and warm before the first, and the order changes with each', async () => {
  const asked: string[] = []
  const contenders = { a: inTurn('a', [1, 5, 2], asked), b: inTurn('b', [4, 4, 9], asked) }
  expect(await sideBySide(contenders, { turns: 3 })).toEqual({
    a: { cpu: 2, memory: 7, failures: 0 },
    b: { cpu: 4, memory: 7, failures: 0 },
  })
  expect(asked).toEqual('start a,start b,warm a,warm b,a,b,b,a,a,b,stop a,stop b'.split(','))
})

test('a comparison with turns has a result of each round, and starts its contenders anew for it', async () => {
  const asked: string[] = []
  const run = { name: 'x', title: 'x', metrics, base: 'b', turns: 1 }
  const contenders = { a: inTurn('a', [1, 2], asked), b: inTurn('b', [3, 4], asked) }
  const result = await runComparison({ ...run, contenders }, { rounds: 2, log: () => undefined })
  expect(result.contenders['a']?.['cpu'].rounds).toEqual([1, 2])
  expect(result.contenders['b']?.['cpu'].rounds).toEqual([3, 4])
  expect(asked.filter((what) => what.startsWith('start'))).toEqual(['start a', 'start b', 'start b', 'start a'])
})

test('a failure in any turn, or after the last, counts; what breaks ends all', async () => {
  expect(await alone(inTurn('a', [1], [], { failures: 2 }))()).toEqual({ cpu: 1, memory: 7, failures: 4 })
  const asked: string[] = []
  const contenders = { a: inTurn('a', [1], asked), b: inTurn('b', [1], asked, { breaks: true }) }
  await expect(sideBySide(contenders, { turns: 1 })).rejects.toThrow('b broke')
  expect(asked.slice(-2)).toEqual(['stop a', 'stop b'])
})

test('a goal is missed beyond noise only when no round met it', () => {
  const contenders = (rounds: number[]) => ({ ours: { cpu: { rounds } }, raw: { cpu: { rounds: [1, 1, 1] } } })
  const goal = { metric: 'cpu', contender: 'ours', over: 'raw', max: 1.2 }
  expect(judge(goal, contenders([1.1, 1.1, 1.3]))).toMatchObject({ met: true, regressed: false })
  expect(judge(goal, contenders([1.1, 1.3, 1.3]))).toMatchObject({ met: false, regressed: false })
  expect(judge(goal, contenders([1.3, 1.3, 1.3]))).toMatchObject({ met: false, regressed: true })
  const least = { metric: 'cpu', contender: 'ours', over: 'raw', min: 0.6 }
  expect(judge(least, contenders([0.7, 0.7, 0.5]))).toMatchObject({ met: true })
  expect(judge(least, contenders([0.5, 0.5, 0.5]))).toMatchObject({ regressed: true })
})

test('a goal that was missed before is a regression only when it is missed by more', () => {
  const judged = (rounds: number[], goal: object = { max: 1.2 }) =>
    judge(
      { metric: 'cpu', contender: 'ours', over: 'raw', ...goal },
      { ours: { cpu: { rounds } }, raw: { cpu: { rounds: [1, 1, 1] } } },
    )
  const missed = judged([1.3, 1.35, 1.4])
  expect(isRegression(missed, judged([1.1, 1.1, 1.2]))).toBe(true)
  expect(isRegression(missed, undefined)).toBe(true)
  expect(isRegression(missed, judged([1.28, 1.3, 1.32]))).toBe(false)
  expect(isRegression(judged([1.5, 1.6, 1.7]), missed)).toBe(true)
  expect(isRegression(judged([1.1, 1.5, 1.5]), missed)).toBe(false)
  const low = { max: undefined, min: 0.9 }
  expect(isRegression(judged([0.5, 0.6, 0.6], low), judged([0.7, 0.8, 0.8], low))).toBe(true)
  expect(isRegression(judged([0.5, 0.6, 0.75], low), judged([0.7, 0.8, 0.8], low))).toBe(false)
})

test('a goal without another contender is of the figure itself', () => {
  const contenders = { ours: { ms: { rounds: [3, 4, 6] } } }
  const goal = { metric: 'ms', contender: 'ours', max: 5, unit: 'ms' }
  expect(judge(goal, contenders)).toMatchObject({ met: true, regressed: false })
  expect(describe(judge(goal, contenders))).toBe('ours at most 5 ms (ms): 4 ms, rounds from 3 to 6: met')
  expect(judge({ ...goal, max: 2 }, contenders)).toMatchObject({ met: false, regressed: true })
  expect(judge({ ...goal, always: true }, contenders)).toMatchObject({ met: false, regressed: true })
  expect(judge({ ...goal, max: 6, always: true }, contenders)).toMatchObject({ met: true, regressed: false })
})

test('medians and ratios', () => {
  expect(summary([3, 1, 2, 10])).toEqual({ median: 2.5, min: 1, max: 10 })
  expect(ratios([2, 4], [1, 8])).toEqual({ median: 1.25, min: 0.5, max: 2 })
})

test('charts escape what they show', async () => {
  const { run } = comparison([1], [2])
  const result = await runComparison({ ...run, title: '<b> & "c"' }, { rounds: 1, log: () => undefined })
  expect(barChart(result, metrics[0])).toContain('&lt;b&gt; &amp; &quot;c&quot;')
  expect(
    lineChart('t', 'keys', [
      {
        name: 'x',
        points: [
          { at: 1, value: 2 },
          { at: 10, value: 4 },
        ],
      },
    ]),
  ).toContain('<path')
})

test('the page is in the order of its topics, whatever was measured first', () => {
  const names = ['settings', 'cache-l1', 'launcher-2', 'launcher-1', 'full-stack', 'cache-growth']
  expect(inOrder(Object.fromEntries(names.map((name) => [name, { name }]))).map(({ name }) => name)).toEqual([
    'full-stack',
    'launcher-1',
    'launcher-2',
    'cache-growth',
    'cache-l1',
    'settings',
  ])
})

test('every comparison has a place on the page', () => {
  const last = inOrder(Object.fromEntries([...comparisons, 'zz-unknown'].map((name) => [name, { name }])))
  // What belongs to no topic comes first.
  expect(last[0]?.name).toBe('zz-unknown')
  expect(last[1]?.name).toBe('full-stack')
})
