import { describe, expect, test } from 'vitest'
import { createUsageMeter, residentTogether } from '../src/primary/usage.ts'
import type { WorkerHandle } from '../src/primary/types.ts'
import { type ProcSample, sampleProcess } from '../src/proc/index.ts'
import { spawnGuarded, waitFor } from './helpers.ts'

const MB = 1_048_576

function sampleOf(pid: number, rss: number, rssFile: number, cpuSeconds = 0): ProcSample {
  return { pid, cpuSeconds, rss: rss * MB, rssFile: rssFile * MB, startTicks: pid }
}

function cluster(...pids: number[]): { workers(): WorkerHandle[] } {
  return { workers: () => pids.map((pid) => ({ id: pid, pid, state: 'ready' }) as WorkerHandle) }
}

describe('what the processes of a cluster use', () => {
  const limits = { cpus: 2, memory: 160 * MB, contained: true }

  test('the memory of files that all of them map counts once, and in the row of each', () => {
    const samples = new Map(
      [sampleOf(process.pid, 65, 45), sampleOf(1, 75, 47), sampleOf(2, 75, 47)].map((one) => [one.pid, one]),
    )
    const usage = createUsageMeter(cluster(1, 2), limits, () => samples)()
    expect(usage.memory * 160).toBeCloseTo(20 + 28 + 28 + 47)
    expect([...usage.workers]).toEqual([
      [1, 75 * MB],
      [2, 75 * MB],
    ])
  })

  test('nothing is remembered of a worker that is gone', () => {
    let cpu = 1
    let pids = [1]
    const meter = createUsageMeter({ workers: () => cluster(...pids).workers() }, limits, (asked) => {
      return new Map([...asked].map((pid) => [pid, sampleOf(pid, 50, 40, pid === 1 ? cpu : 0)]))
    })
    expect(meter().cpu).toBe(0)
    cpu = 2
    expect(meter().cpu).toBeGreaterThan(0)
    pids = []
    expect(meter().cpu).toBe(0)
    pids = [1]
    cpu = 3
    expect(meter().cpu).toBe(0)
  })

  test('of real processes of node the sum of RSS is far above what they have together', async () => {
    const nodes = [1, 2, 3].map(() =>
      spawnGuarded(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)']),
    )
    try {
      const said = nodes.map((node) => new Promise((resolve) => node.stdout?.once('data', resolve)))
      await Promise.all(said)
      const samples = await waitFor(() => {
        const found = nodes.flatMap(({ pid }) => sampleProcess(pid as number) ?? [])
        return found.length === nodes.length && found
      })
      for (const { rss, rssFile } of samples) {
        expect(rssFile).toBeGreaterThan(10 * MB)
        expect(rssFile).toBeLessThan(rss)
      }
      const sum = samples.reduce((total, { rss }) => total + rss, 0)
      expect(residentTogether(samples)).toBeLessThan(sum - 20 * MB)
    } finally {
      for (const node of nodes) node.kill('SIGKILL')
    }
  })
})
