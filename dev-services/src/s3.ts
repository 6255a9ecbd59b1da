import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { cephBinaries, startCeph, startGateway, type CephBinaries, type CephCluster } from './ceph.ts'
import { canFetchDebian, type Progress } from './debian.ts'
import { DevServicesError } from './errors.ts'
import { makeRunDir, removeRunDir } from './run-dir.ts'
import { s3Request, type S3Target } from './s3-request.ts'
import type { Daemon, FaultyServer } from './server.ts'
import { unavailable } from './unavailable.ts'
import { freePort } from './wait.ts'

export interface S3Options {
  /** Name of the bucket that is there from the start. Default `fastify-scale-dev`. */
  bucket?: string
  /** Called with one line for each step that takes time. */
  onProgress?: Progress
}

/**
 * A running S3 server: Ceph's gateway over a cluster of one. Use it with `forcePathStyle: true` and, in the AWS SDK,
 * `requestChecksumCalculation` and `responseChecksumValidation` set to `'WHEN_REQUIRED'`. Its signatures, policies,
 * presigned URLs and multipart uploads are real. Faults hit the gateway.
 */
export interface S3Server extends FaultyServer {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The bucket that is there from the start. */
  readonly bucket: string
  /** Makes a bucket, by default with a new name, and gives its name. */
  createBucket(name?: string): Promise<string>
}

const REGION = 'us-east-1'
const ATTEMPTS = 3

/**
 * Starts a real S3 server on a loopback port, with an empty bucket. It is gone when this process goes, and does not
 * keep it from exiting.
 * @throws SCALE_DEV_SERVICES_UNAVAILABLE, SCALE_DEV_SERVICES_FETCH_FAILED, SCALE_DEV_SERVICES_START_FAILED
 */
export async function startS3(options: S3Options = {}): Promise<S3Server> {
  const { bucket = 'fastify-scale-dev', onProgress } = options
  if (process.platform !== 'linux' || !canFetchDebian()) throw unavailable('s3')
  const ceph = await cephBinaries(onProgress)
  for (let attempt = 1; ; attempt++) {
    const dir = await makeRunDir()
    try {
      return await startOnce(ceph, dir, bucket)
    } catch (error) {
      await removeRunDir(dir)
      if (attempt === ATTEMPTS) throw error
      onProgress?.(`the S3 server did not come up, trying again (${(error as Error).message.split('\n').at(-1)})`)
    }
  }
}

async function startOnce(ceph: CephBinaries, dir: string, bucket: string): Promise<S3Server> {
  const cluster = await startCeph(ceph, dir)
  const stopCluster = async (): Promise<void> => {
    await Promise.all(cluster.daemons.map((daemon) => daemon.kill()))
  }
  try {
    const port = await freePort()
    const { accessKeyId, secretAccessKey } = cluster
    const target: S3Target = { endpoint: `http://127.0.0.1:${port}`, region: REGION, accessKeyId, secretAccessKey }
    let gateway = await launch(ceph, cluster, target, port)
    const server: S3Server = {
      ...target,
      bucket,
      get pid() {
        return gateway.pid
      },
      createBucket: (name) => createBucket(target, name),
      freeze: () => gateway.freeze(),
      thaw: () => gateway.signal('SIGCONT'),
      kill: () => gateway.kill(),
      async restart() {
        await gateway.kill()
        gateway = await launch(ceph, cluster, target, port)
      },
      async stop() {
        await gateway.kill()
        await stopCluster()
        await removeRunDir(dir)
      },
    }
    try {
      await createBucket(target, bucket)
    } catch (error) {
      await gateway.kill()
      throw error
    }
    return server
  } catch (error) {
    await stopCluster()
    throw error
  }
}

async function launch(ceph: CephBinaries, cluster: CephCluster, target: S3Target, port: number): Promise<Daemon> {
  const gateway = startGateway(ceph, cluster, port)
  // Only our own gateway knows the key.
  const isOurs = async (): Promise<boolean> => (await s3Request(target, 'GET', '/', 5_000)).status === 200
  try {
    await gateway.ready('radosgw', isOurs, 60_000)
    return gateway
  } catch (error) {
    await gateway.kill()
    throw error
  }
}

async function createBucket(target: S3Target, name = `dev-${randomBytes(6).toString('hex')}`): Promise<string> {
  // The first bucket makes the gateway create its pools, which it reports as a conflict or an error for a moment.
  for (let attempt = 1; ; attempt++) {
    const { status, body } = await s3Request(target, 'PUT', `/${name}`, 20_000)
    if (status === 200) return name
    if (status < 500 || attempt === 5) {
      const why = /<Code>(.*?)<\/Code>/.exec(body)?.[1] ?? `status ${status}`
      throw new DevServicesError('SCALE_DEV_SERVICES_REQUEST_FAILED', `could not make the bucket ${name}: ${why}`)
    }
    await sleep(200)
  }
}
