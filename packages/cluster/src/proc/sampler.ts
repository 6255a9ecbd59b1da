import { readFileSync, readdirSync } from 'node:fs'

/** One process as /proc shows it (proc_pid_stat(5)). */
export interface ProcSample {
  pid: number
  /** CPU time used since the process began, in seconds: user and system, without its children's. Steps of 10 ms. */
  cpuSeconds: number
  /** Resident memory in bytes. */
  rss: number
  /** Of that, what it maps of files and shares with all who map them too: node itself and its libraries. */
  rssFile: number
  /** When it began, in clock ticks since boot: with the pid it names a process for good, pids are used again. */
  startTicks: number
}

// USER_HZ, the unit of the times in /proc, is 100 on every architecture that Node runs on.
const TICKS_PER_SECOND = 100

/** Samples one process. `undefined` where it is gone (a zombie counts as gone) or not ours to see. */
export function sampleProcess(pid: number): ProcSample | undefined {
  const fields = statFields(pid)
  if (!fields || fields[0] === 'Z' || fields[0] === 'X') return undefined
  const status = readProc(pid, 'status')
  if (status === undefined) return undefined
  return {
    pid,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    rss: bytesOf(status, 'VmRSS'),
    rssFile: bytesOf(status, 'RssFile'),
    startTicks: Number(fields[19]),
  }
}

/** Samples several processes at once; those that are gone are left out. */
export function sampleProcesses(pids: Iterable<number>): Map<number, ProcSample> {
  const samples = new Map<number, ProcSample>()
  for (const pid of pids) {
    const sample = sampleProcess(pid)
    if (sample) samples.set(pid, sample)
  }
  return samples
}

/** The pids of a process and of everything below it, the process first. */
export function processTree(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const one = Number(name)
    if (!Number.isInteger(one)) continue
    const parent = Number(statFields(one)?.[1])
    if (!Number.isInteger(parent)) continue
    const list = children.get(parent)
    if (list) list.push(one)
    else children.set(parent, [one])
  }
  const tree = [pid]
  for (const one of tree) tree.push(...(children.get(one) ?? []))
  return tree
}

/** How many file descriptors a process has open; `undefined` where it is gone or not ours to see. */
export function openDescriptors(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return undefined
  }
}

/** Use of CPU between two looks, in cores: 1 is one core, busy all the time. */
export interface CpuMeter {
  /** Cores used by a process since the look before; `undefined` at the first look and where it is gone. */
  look(pid: number): number | undefined
  /** Forgets processes that are not among `pids`. */
  keep(pids: Iterable<number>): void
}

/** Makes a meter that remembers the last sample of each process. `now` is a monotonic clock in ms. */
export function createCpuMeter(
  now: () => number = () => performance.now(),
  sample: (pid: number) => ProcSample | undefined = sampleProcess,
): CpuMeter {
  const last = new Map<number, { at: number; sample: ProcSample }>()
  return {
    look(pid) {
      const current = sample(pid)
      const before = last.get(pid)
      if (!current) {
        last.delete(pid)
        return undefined
      }
      const at = now()
      last.set(pid, { at, sample: current })
      if (!before || before.sample.startTicks !== current.startTicks || at <= before.at) return undefined
      return ((current.cpuSeconds - before.sample.cpuSeconds) * 1_000) / (at - before.at)
    },
    keep(pids) {
      const wanted = new Set(pids)
      for (const pid of last.keys()) if (!wanted.has(pid)) last.delete(pid)
    },
  }
}

/** The fields of /proc/<pid>/stat from the third on (index 0 is the state, 1 the parent). */
function statFields(pid: number): string[] | undefined {
  const text = readProc(pid, 'stat')
  // The command's name, in parentheses, may hold spaces and parentheses itself.
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** A line of /proc/<pid>/status; 0 where it is not there. */
function bytesOf(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1_024
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
