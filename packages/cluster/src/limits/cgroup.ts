import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'

/** What the control groups of one process allow; a field is absent where they set no limit. */
export interface CgroupLimits {
  /** CPU time in cores, from the quota: 1.5 is one and a half. */
  cpuQuota?: number
  /** How many CPUs the set allows. */
  cpusetSize?: number
  /** Bytes. */
  memory?: number
}

interface Mount {
  /** The part of the hierarchy that is mounted: '/' for all of it. */
  root: string
  point: string
  version: 1 | 2
  /** Controllers of a v1 mount. */
  controllers: string[]
}

/** v1 shows 'no limit' as a page-rounded 2^63; nothing that big was ever set. */
const NO_LIMIT = 2 ** 60

/**
 * Reads the limits of control groups v1, v2 and of both together (cgroups(7)). A limit holds for everything below it, so
 * each group from the process's own up to the mount counts, and the smallest wins.
 *
 * @param root the directory that holds `proc` and `sys`: '/' but in tests
 */
export function readCgroupLimits(root = '/'): CgroupLimits {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(join(root, path), 'utf8').trim()
    } catch {
      return undefined
    }
  }
  const mounts = parseMounts(read('/proc/self/mountinfo') ?? '')
  const limits: CgroupLimits = {}
  for (const { controllers, path } of parseMembership(read('/proc/self/cgroup') ?? '')) {
    const version = controllers.length === 0 ? 2 : 1
    for (const mount of mounts) {
      if (mount.version !== version) continue
      if (version === 1 && !controllers.some((name) => mount.controllers.includes(name))) continue
      for (const directory of upwards(mount, path)) {
        const file = (name: string): string | undefined => read(posix.join(directory, name))
        lower(limits, version === 2 ? readV2(file) : readV1(file))
      }
    }
  }
  return limits
}

function readV2(file: (name: string) => string | undefined): CgroupLimits {
  const [quota, period] = (file('cpu.max') ?? '').split(/\s+/)
  return {
    cpuQuota: ratio(quota, period),
    cpusetSize: cpuListSize(file('cpuset.cpus.effective') || file('cpuset.cpus')),
    memory: bytes(file('memory.max')),
  }
}

function readV1(file: (name: string) => string | undefined): CgroupLimits {
  return {
    cpuQuota: ratio(file('cpu.cfs_quota_us'), file('cpu.cfs_period_us')),
    cpusetSize: cpuListSize(file('cpuset.effective_cpus') || file('cpuset.cpus')),
    memory: bytes(file('memory.limit_in_bytes')),
  }
}

function lower(limits: CgroupLimits, more: CgroupLimits): void {
  for (const key of ['cpuQuota', 'cpusetSize', 'memory'] as const) {
    const value = more[key]
    if (value !== undefined && value < (limits[key] ?? Number.POSITIVE_INFINITY)) limits[key] = value
  }
}

/** The directories of a group and those above it, up to the mount point. */
function upwards(mount: Mount, path: string): string[] {
  // Without a cgroup namespace the process's path begins at the host's root and the mount shows a part of it.
  const inside = mount.root === '/' ? path : path === mount.root ? '/' : path.replace(`${mount.root}/`, '/')
  const names = inside.split('/').filter((name) => name !== '' && name !== '..')
  const directories = [mount.point]
  for (const name of names) directories.push(posix.join(directories.at(-1) as string, name))
  return directories
}

/** Lines like `0::/user.slice` (v2) and `3:cpu,cpuacct:/docker/ab` (v1). */
function parseMembership(text: string): { controllers: string[]; path: string }[] {
  const groups: { controllers: string[]; path: string }[] = []
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line)
    if (match) groups.push({ controllers: (match[1] as string).split(',').filter(Boolean), path: match[2] as string })
  }
  return groups
}

/** `36 35 98:0 /root /point options - type source super-options` (proc_pid_mountinfo(5)). */
function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = []
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ')
    const fields = before?.split(' ') ?? []
    const [type, , superOptions] = after?.split(' ') ?? []
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    mounts.push({
      root: unescape(fields[3] ?? '/'),
      point: unescape(fields[4] ?? '/sys/fs/cgroup'),
      version: type === 'cgroup2' ? 2 : 1,
      controllers: (superOptions ?? '').split(','),
    })
  }
  return mounts
}

/** Spaces and the like are written in octal: `\040`. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const cores = Number(quota) / Number(period)
  // 'max' (v2) and -1 (v1) mean no quota.
  return Number.isFinite(cores) && cores > 0 ? cores : undefined
}

function bytes(text: string | undefined): number | undefined {
  const value = text ? Number(text) : Number.NaN
  return Number.isFinite(value) && value > 0 && value < NO_LIMIT ? value : undefined
}

/** `0-3,8` is five. */
function cpuListSize(text: string | undefined): number | undefined {
  if (!text) return undefined
  let size = 0
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim())
    if (!match) return undefined
    size += match[2] === undefined ? 1 : Number(match[2]) - Number(match[1]) + 1
  }
  return size > 0 ? size : undefined
}
