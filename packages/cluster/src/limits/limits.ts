import { availableParallelism, totalmem } from 'node:os'
import { readCgroupLimits } from './cgroup.ts'

/** What the machine or the container really grants this process and its children. */
export interface Limits {
  /** Cores: the smallest of CPU affinity, cpuset and quota; 0.5 is half a core. */
  cpus: number
  /** Bytes: the smaller of the control group's limit and the machine's memory. */
  memory: number
  /** True where a control group, and not the machine, sets the memory limit. */
  contained: boolean
}

export interface LimitsSource {
  /** The directory that holds `proc` and `sys`. Default '/'. */
  root?: string
  /** CPUs that the scheduler lets us use. Default `os.availableParallelism()`, which knows affinity but not quotas. */
  parallelism?: number
  /** Memory of the machine in bytes. Default `os.totalmem()`. */
  totalMemory?: number
}

/** Reads the limits. Costs a few file reads: call it once, or every few seconds. */
export function readLimits(source: LimitsSource = {}): Limits {
  const { root = '/', parallelism = availableParallelism(), totalMemory = totalmem() } = source
  const group = readCgroupLimits(root)
  const memory = Math.min(totalMemory, group.memory ?? Number.POSITIVE_INFINITY)
  return {
    cpus: Math.min(parallelism, group.cpusetSize ?? parallelism, group.cpuQuota ?? parallelism),
    memory,
    contained: memory < totalMemory,
  }
}

/**
 * One worker per granted core, at least one. Half a core and more counts as one: a quota of 1.5 is two workers, which
 * can use all of it, and 1.4 is one.
 */
export function defaultWorkers(limits: Pick<Limits, 'cpus'> = readLimits()): number {
  return Math.max(1, Math.round(limits.cpus))
}
