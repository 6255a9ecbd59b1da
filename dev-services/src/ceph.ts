import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchDebian, libraryDirs, type Progress } from './debian.ts'
import { DevServicesError } from './errors.ts'
import { runProgram } from './run-program.ts'
import { Daemon } from './server.ts'
import { freePort } from './wait.ts'

/** Where the programs of an unpacked Ceph are, and the environment that they need. */
export interface CephBinaries {
  bin: string
  /** The directory that holds `ceph/` and `rados-classes/`. */
  lib: string
  env: NodeJS.ProcessEnv
}

/** One monitor and one storage daemon, with the configuration and the user for a gateway. */
export interface CephCluster {
  /** With the configuration in it. */
  dir: string
  accessKeyId: string
  secretAccessKey: string
  daemons: Daemon[]
}

const CONFIG = 'ceph.conf'

/** Fetches Ceph from Debian, once. */
export async function cephBinaries(onProgress?: Progress): Promise<CephBinaries> {
  const root = await fetchDebian('ceph', ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-base', 'ceph-common'], onProgress)
  const dirs = await libraryDirs(root)
  const lib = dirs.find((dir) => dir.startsWith(join(root, 'usr/lib')))
  if (!lib) throw new DevServicesError('SCALE_DEV_SERVICES_FETCH_FAILED', `no libraries were unpacked into ${root}`)
  const env = { ...process.env, LD_LIBRARY_PATH: dirs.join(':'), LC_ALL: 'C' }
  return { bin: join(root, 'usr/bin'), lib, env }
}

/** Makes an empty cluster in `dir` and starts it; what was started is gone again when this fails. */
export async function startCeph(ceph: CephBinaries, dir: string): Promise<CephCluster> {
  const fsid = randomUUID()
  const osdUuid = randomUUID()
  const monitor = `v1:127.0.0.1:${await freePort()}`
  const common = ['-c', CONFIG]
  const tool = async (name: string, ...args: string[]): Promise<string> =>
    (await runProgram(join(ceph.bin, name), [...common, ...args], { cwd: dir, env: ceph.env, timeout: 60_000 })).stdout
  for (const sub of ['mon', 'osd', 'run', 'rgw', 'crash']) await mkdir(join(dir, sub))
  await writeFile(join(dir, 'keyring'), '')
  await symlink(ceph.lib, join(dir, 'lib'))
  await writeFile(join(dir, CONFIG), configuration({ fsid, osdUuid, monitor }))

  const daemons: Daemon[] = []
  const start = (name: string, ...args: string[]): Daemon => {
    const daemon = new Daemon(join(ceph.bin, name), [...common, '-f', ...args], join(dir, `${name}.log`), {
      cwd: dir,
      env: ceph.env,
    })
    daemons.push(daemon)
    return daemon
  }
  try {
    // The map of storage daemons is given to the monitor at birth: otherwise it takes `ceph osd new`, which is Python.
    const makeMonitor = async (): Promise<void> => {
      await Promise.all([
        tool('osdmaptool', '--createsimple', '1', '--pg-bits', '0', '--pgp-bits', '0', 'osdmap'),
        tool('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', `[${monitor}]`, 'monmap'),
      ])
      await tool('ceph-mon', '-i', 'a', '--mkfs', '--monmap', 'monmap', '--osdmap', 'osdmap')
      start('ceph-mon', '-i', 'a')
    }
    const makeStorage = tool('ceph-osd', '--no-mon-config', '-i', '0', '--mkfs', '--osd-uuid', osdUuid)
    // Both must have ended, well or not, before anything that they started can be ended.
    const made = await Promise.allSettled([makeMonitor(), makeStorage])
    for (const result of made) if (result.status === 'rejected') throw result.reason
    const osd = start('ceph-osd', '--no-mon-config', '-i', '0')
    // A client that comes before the storage daemon is known waits long before it asks again.
    const active = async (): Promise<boolean> => (await osd.log(1000)).includes('booting -> active')
    await osd.ready('ceph-osd', active, 60_000)
    const accessKeyId = `dev${randomBytes(8).toString('hex')}`
    const secretAccessKey = randomBytes(20).toString('hex')
    const keys = ['--access-key', accessKeyId, '--secret-key', secretAccessKey]
    const user = ['--uid', 'dev', '--display-name', 'dev', '--max-buckets', '0', ...keys]
    await tool('radosgw-admin', 'user', 'create', ...user)
    return { dir, accessKeyId, secretAccessKey, daemons }
  } catch (error) {
    await Promise.all(daemons.map((daemon) => daemon.kill()))
    if (error instanceof DevServicesError) throw error
    const { stderr, message } = error as { stderr?: string; message: string }
    const tail = (stderr || message).trim().split('\n').slice(-5).join('\n')
    throw new DevServicesError('SCALE_DEV_SERVICES_START_FAILED', `Ceph could not be set up: ${tail}`, { cause: error })
  }
}

/** Starts the S3 gateway of a cluster on a port. */
export function startGateway(ceph: CephBinaries, cluster: CephCluster, port: number): Daemon {
  const args = ['-c', CONFIG, '--no-mon-config', '-n', 'client.rgw', '-f']
  const log = join(cluster.dir, 'radosgw.log')
  return new Daemon(join(ceph.bin, 'radosgw'), [...args, `--rgw-frontends=beast endpoint=127.0.0.1:${port}`], log, {
    cwd: cluster.dir,
    env: ceph.env,
  })
}

// Every name that has a default below /var or /usr must be given. The intervals are those of a cluster that shares no
// network and has nobody to wait for; `bdev aio poll ms` is what closing a block device takes, five times per start.
function configuration({ fsid, osdUuid, monitor }: { fsid: string; osdUuid: string; monitor: string }): string {
  return `[global]
fsid = ${fsid}
mon host = ${monitor}
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr1 = true
ms bind msgr2 = false
ms initial backoff = 0.02
ms max backoff = 0.1
mon client hunt interval = 0.2
mon client hunt interval backoff = 1
mon client ping interval = 1
objecter tick interval = 0.5
run dir = run
crash dir = crash
keyring = keyring
admin socket =
log file =
log to file = false
log to stderr = true
log to syslog = false
mon cluster log to file = false
mon cluster log to stderr = false
debug rgw = 0
debug ms = 0
debug rocksdb = 1
debug bluestore = 0
debug bluefs = 0
debug bdev = 0
plugin dir = lib/ceph
erasure code dir = lib/ceph/erasure-code
osd class dir = lib/rados-classes
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
mon data = mon
mon data avail crit = 0
mon data avail warn = 0
paxos propose interval = 0.02
paxos min wait = 0.01

[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd data = osd
osd uuid = ${osdUuid}
osd objectstore = bluestore
bluestore block create = true
bluestore block size = ${10 * 1024 ** 3}
bluestore cache autotune = false
bluestore cache size = ${64 * 1024 ** 2}
bdev aio poll ms = 20
osd memory target = ${896 * 1024 ** 2}
osd class load list = *
osd class default list = *

[client.rgw]
rgw data = rgw
rgw thread pool size = 64
rgw run sync thread = false
rgw enable usage log = false
rgw gc obj min wait = 60
rgw gc processor period = 60
`
}
