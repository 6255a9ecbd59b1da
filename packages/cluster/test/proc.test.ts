import { openSync, closeSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createCpuMeter, openDescriptors, processTree, sampleProcess, sampleProcesses } from '../src/proc/index.ts'
import { spawnGuarded, waitFor } from './helpers.ts'

describe('the /proc sampler', () => {
  it('tells CPU time and memory as the process itself knows them', () => {
    const until = performance.now() + 100
    while (performance.now() < until);
    const own = process.cpuUsage()
    const sample = sampleProcess(process.pid)
    const seconds = (own.user + own.system) / 1e6
    expect(sample?.cpuSeconds).toBeGreaterThan(seconds - 0.1)
    expect(sample?.cpuSeconds).toBeLessThan(seconds + 0.1)
    const rss = process.memoryUsage.rss()
    expect((sample?.rss ?? 0) / rss).toBeGreaterThan(0.8)
    expect((sample?.rss ?? 0) / rss).toBeLessThan(1.25)
  })

  it('leaves out what is gone, and zombies', async () => {
    expect(sampleProcess(2 ** 22 + 1)).toBeUndefined()
    expect(openDescriptors(2 ** 22 + 1)).toBeUndefined()
    // A shell that never looks after its child: the child stays a zombie.
    const shell = spawnGuarded('/bin/sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 60'])
    try {
      let printed = ''
      shell.stdout?.on('data', (chunk: Buffer) => (printed += String(chunk)))
      const child = await waitFor(() => Number(/^(\d+)\n/.exec(printed)?.[1]))
      await waitFor(() => sampleProcess(child) === undefined)
      expect(processTree(shell.pid as number)).toContain(child)
      expect([...sampleProcesses([process.pid, child]).keys()]).toEqual([process.pid])
    } finally {
      shell.kill('SIGKILL')
    }
  })

  it('is not fooled by the name of a command', async () => {
    const node = spawnGuarded(process.execPath, ['-e', 'process.title = ") R 1 (x"; setInterval(() => {}, 1000)'])
    try {
      await waitFor(() => (sampleProcess(node.pid as number)?.rss ?? 0) > 1e6)
      expect(processTree(process.pid)).toContain(node.pid)
    } finally {
      node.kill('SIGKILL')
    }
  })

  it('counts descriptors', () => {
    const before = openDescriptors(process.pid) as number
    const fds = [1, 2, 3].map(() => openSync('/dev/null', 'r'))
    expect(openDescriptors(process.pid)).toBe(before + 3)
    for (const fd of fds) closeSync(fd)
  })

  it('meters CPU between two looks, and never across two processes with one pid', () => {
    let at = 0
    let sample: ReturnType<typeof sampleProcess> = { pid: 1, cpuSeconds: 10, rss: 0, rssFile: 0, startTicks: 5 }
    const meter = createCpuMeter(
      () => at,
      () => sample,
    )
    expect(meter.look(1)).toBeUndefined()
    at = 2_000
    sample = { pid: 1, cpuSeconds: 13, rss: 0, rssFile: 0, startTicks: 5 }
    expect(meter.look(1)).toBe(1.5)
    at = 3_000
    sample = { pid: 1, cpuSeconds: 1, rss: 0, rssFile: 0, startTicks: 99 }
    expect(meter.look(1)).toBeUndefined()
    at = 4_000
    sample = { pid: 1, cpuSeconds: 1.5, rss: 0, rssFile: 0, startTicks: 99 }
    expect(meter.look(1)).toBe(0.5)
    meter.keep([])
    expect(meter.look(1)).toBeUndefined()
    sample = undefined
    expect(meter.look(1)).toBeUndefined()
  })
})
