import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'

/** Access keys, or a function that gets them each time they expire. */
export type S3Credentials = NonNullable<S3ClientConfig['credentials']>

export interface ClientConfig {
  region: string
  /** URL of an S3 server other than AWS. */
  endpoint?: string
  /** URL under which browsers reach the same server, where it differs. */
  publicEndpoint?: string
  credentials?: S3Credentials
  forcePathStyle: boolean
  /** ms. */
  connectionTimeout: number
  /** ms. */
  requestTimeout: number
  maxAttempts: number
  maxSockets: number
}

export interface Clients {
  /** For everything this process sends itself. */
  s3: S3Client
  /**
   * For the begin and the completion of a multipart upload. Without TLS each has a connection of its own: servers that send an
   * answer in two pieces (Ceph by default) wait for the first to be acknowledged, which on a connection that has carried
   * parts takes the receiver's 40 ms.
   */
  brief: S3Client
  /** For URLs and forms that others use. */
  presign: S3Client
  destroy(): void
}

/**
 * Two clients. AWS takes the SDK's default checksums; other servers may store them into the object or refuse them, so with
 * an `endpoint` they are sent only where S3 demands one. What is signed for others never has them: the SDK would put the
 * checksum of an empty body into the URL.
 */
export function createClients(config: ClientConfig): Clients {
  const common: S3ClientConfig = {
    region: config.region,
    credentials: config.credentials,
    forcePathStyle: config.forcePathStyle,
    maxAttempts: config.maxAttempts,
    retryMode: 'standard',
    logger: silent,
  }
  const checksums = config.endpoint === undefined ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED'
  const client = (keepAlive: boolean): S3Client =>
    new S3Client({
      ...common,
      endpoint: config.endpoint,
      requestChecksumCalculation: checksums,
      responseChecksumValidation: checksums,
      // It would cost each part a connection of its own and a round trip; a part is small enough to be sent in vain.
      expectContinueHeader: false,
      requestHandler: new NodeHttpHandler({
        connectionTimeout: config.connectionTimeout,
        requestTimeout: config.requestTimeout,
        throwOnRequestTimeout: true,
        httpAgent: { keepAlive, maxSockets: config.maxSockets },
        httpsAgent: { keepAlive, maxSockets: config.maxSockets },
        logger: silent,
      }),
    })
  const s3 = client(true)
  const brief = isTls(config.endpoint) ? s3 : client(false)
  const presign = new S3Client({
    ...common,
    endpoint: config.publicEndpoint ?? config.endpoint,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  return {
    s3,
    brief,
    presign,
    destroy() {
      s3.destroy()
      brief.destroy()
      presign.destroy()
    },
  }
}

/** Whether an endpoint is reached over TLS; AWS, without one, is. */
export function isTls(endpoint: string | undefined): boolean {
  return endpoint === undefined || new URL(endpoint).protocol === 'https:'
}

/** The SDK's own log lines hold requests with their signatures. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
