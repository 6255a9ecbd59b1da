import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readCgroupLimits } from '../src/limits/cgroup.ts'
import { defaultWorkers, readLimits } from '../src/limits/limits.ts'

const GB = 1024 ** 3
const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true })
})

/** A file system as a container sees it. */
function makeRoot(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'fastify-scale-'))
  roots.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true })
    writeFileSync(join(root, path), `${text}\n`)
  }
  return root
}

const V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate'
const V1 = [
  '31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct',
  '32 25 0:28 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory',
  '33 25 0:29 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset',
].join('\n')
const UNLIMITED_V1 = '9223372036854771712'

describe('control groups v2', () => {
  it('quota, memory and cpuset of the group itself', () => {
    const root = makeRoot({
      'proc/self/mountinfo': V2,
      'proc/self/cgroup': '0::/app',
      'sys/fs/cgroup/app/cpu.max': '150000 100000',
      'sys/fs/cgroup/app/memory.max': String(2 * GB),
      'sys/fs/cgroup/app/cpuset.cpus.effective': '0-3,8',
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 1.5, memory: 2 * GB, cpusetSize: 5 })
  })

  it("'max' and what is not there are no limit", () => {
    const root = makeRoot({
      'proc/self/mountinfo': V2,
      'proc/self/cgroup': '0::/app',
      'sys/fs/cgroup/app/cpu.max': 'max 100000',
      'sys/fs/cgroup/app/memory.max': 'max',
    })
    expect(readCgroupLimits(root)).toEqual({})
    expect(readCgroupLimits(makeRoot({}))).toEqual({})
  })

  it('a limit of a group above holds too, the smallest wins', () => {
    const root = makeRoot({
      'proc/self/mountinfo': V2,
      'proc/self/cgroup': '0::/kubepods/pod1/container',
      'sys/fs/cgroup/kubepods/cpu.max': '300000 100000',
      'sys/fs/cgroup/kubepods/pod1/cpu.max': '50000 100000',
      'sys/fs/cgroup/kubepods/pod1/container/cpu.max': 'max 100000',
      'sys/fs/cgroup/kubepods/pod1/memory.max': String(4 * GB),
      'sys/fs/cgroup/kubepods/pod1/container/memory.max': String(GB),
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 0.5, memory: GB })
  })

  it('in a container with a namespace of its own: the files are at the mount point', () => {
    const root = makeRoot({
      'proc/self/mountinfo': V2,
      'proc/self/cgroup': '0::/',
      'sys/fs/cgroup/cpu.max': '200000 100000',
      'sys/fs/cgroup/memory.max': '536870912',
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 2, memory: GB / 2 })
  })

  it('in a container without one: the mount shows the part that the path names', () => {
    const root = makeRoot({
      'proc/self/mountinfo': '30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw',
      'proc/self/cgroup': '0::/docker/abc/inner',
      'sys/fs/cgroup/cpu.max': '400000 100000',
      'sys/fs/cgroup/inner/cpu.max': '100000 100000',
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 1 })
  })
})

describe('control groups v1', () => {
  it('each controller in its own tree', () => {
    const root = makeRoot({
      'proc/self/mountinfo': V1,
      'proc/self/cgroup': '5:memory:/docker/m\n4:cpu,cpuacct:/docker/c\n3:cpuset:/docker/s\n1:name=systemd:/x',
      'sys/fs/cgroup/cpu,cpuacct/docker/c/cpu.cfs_quota_us': '250000',
      'sys/fs/cgroup/cpu,cpuacct/docker/c/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/memory/docker/m/memory.limit_in_bytes': String(GB),
      'sys/fs/cgroup/memory/memory.limit_in_bytes': UNLIMITED_V1,
      'sys/fs/cgroup/cpuset/docker/s/cpuset.cpus': '1,3',
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 2.5, memory: GB, cpusetSize: 2 })
  })

  it('-1 and the largest number are no limit', () => {
    const root = makeRoot({
      'proc/self/mountinfo': V1,
      'proc/self/cgroup': '5:memory:/\n4:cpu,cpuacct:/',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': UNLIMITED_V1,
    })
    expect(readCgroupLimits(root)).toEqual({})
  })

  it('v1 and v2 side by side', () => {
    const root = makeRoot({
      'proc/self/mountinfo': `${V1}\n40 25 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`,
      'proc/self/cgroup': '4:cpu,cpuacct:/a\n0::/b',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '50000',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/unified/b/memory.max': String(3 * GB),
    })
    expect(readCgroupLimits(root)).toEqual({ cpuQuota: 0.5, memory: 3 * GB })
  })
})

describe('hostile files', () => {
  it.each([
    ['nonsense', '0::/app', 'nonsense', 'nonsense'],
    [V2, 'nonsense', '1 1', '1'],
    [V2, '0::/../../etc', '0 100000', '0'],
    [V2, '0::/app', '100000 0', '-5'],
    [V2, '0::/app', '', ''],
  ])('%#: give no limit and no error', (mountinfo, cgroup, cpu, memory) => {
    const root = makeRoot({
      'proc/self/mountinfo': mountinfo,
      'proc/self/cgroup': cgroup,
      'sys/fs/cgroup/app/cpu.max': cpu,
      'sys/fs/cgroup/app/memory.max': memory,
      'sys/fs/cgroup/app/cpuset.cpus': '0-x',
    })
    expect(readCgroupLimits(root)).toEqual({})
  })

  it('mount points with spaces are found', () => {
    const root = makeRoot({
      'proc/self/mountinfo': '30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw',
      'proc/self/cgroup': '0::/',
      'my groups/memory.max': '1000000',
    })
    expect(readCgroupLimits(root)).toEqual({ memory: 1_000_000 })
  })
})

describe('limits', () => {
  const machine = { parallelism: 8, totalMemory: 16 * GB }

  it('are those of the machine where nothing else is set', () => {
    expect(readLimits({ root: makeRoot({}), ...machine })).toEqual({ cpus: 8, memory: 16 * GB, contained: false })
  })

  it('are those of the container where it grants less, and never more than the machine', () => {
    const files = (cpu: string, memory: number): Record<string, string> => ({
      'proc/self/mountinfo': V2,
      'proc/self/cgroup': '0::/',
      'sys/fs/cgroup/cpu.max': cpu,
      'sys/fs/cgroup/memory.max': String(memory),
    })
    expect(readLimits({ root: makeRoot(files('200000 100000', GB)), ...machine })).toEqual({
      cpus: 2,
      memory: GB,
      contained: true,
    })
    expect(readLimits({ root: makeRoot(files('9900000 100000', 99 * GB)), ...machine })).toEqual({
      cpus: 8,
      memory: 16 * GB,
      contained: false,
    })
  })

  it('of this machine can be read', () => {
    const limits = readLimits()
    expect(limits.cpus).toBeGreaterThan(0)
    expect(limits.cpus).toBeLessThanOrEqual(availableParallelism())
    expect(limits.memory).toBeGreaterThan(1e8)
  })

  it.each([
    [0.1, 1],
    [1, 1],
    [1.4, 1],
    [1.5, 2],
    [8, 8],
  ])('%d cores make %d workers', (cpus, workers) => {
    expect(defaultWorkers({ cpus })).toBe(workers)
  })
})
