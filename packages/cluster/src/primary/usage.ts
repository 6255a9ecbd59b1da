import { freemem, totalmem } from 'node:os'
import type { Limits } from '../limits/limits.ts'
import { createCpuMeter, type ProcSample, sampleProcesses } from '../proc/sampler.ts'
import type { Usage } from './red-lines.ts'
import type { Primary } from './types.ts'

/**
 * Memory in bytes that processes of one family have together. What they map of files (node itself, its libraries) is in
 * memory once and in the figure of each.
 */
export function residentTogether(samples: Iterable<ProcSample>): number {
  let own = 0
  let files = 0
  for (const { rss, rssFile } of samples) {
    own += rss - rssFile
    files = Math.max(files, rssFile)
  }
  return own + files
}

/** Measures what the launcher and its workers use: CPU since the call before, memory now. */
export function createUsageMeter(
  primary: Pick<Primary, 'workers'>,
  limits: Limits,
  sample: (pids: Iterable<number>) => Map<number, ProcSample> = sampleProcesses,
): () => Usage {
  let samples = new Map<number, ProcSample>()
  const meter = createCpuMeter(undefined, (pid) => samples.get(pid))

  return () => {
    const all = primary.workers()
    samples = sample([process.pid, ...all.map(({ pid }) => pid)])
    meter.keep(samples.keys())
    let cpu = 0
    for (const pid of samples.keys()) cpu += meter.look(pid) ?? 0
    const workers = new Map<number, number>()
    for (const { id, pid, state } of all) if (state === 'ready') workers.set(id, samples.get(pid)?.rss ?? 0)
    // On a machine that is shared, what others use is gone as well.
    const used = limits.contained ? residentTogether(samples.values()) : totalmem() - freemem()
    return { cpu, memory: used / limits.memory, workers }
  }
}
