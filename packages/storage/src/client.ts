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
  const s3 = new S3Client({
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
      httpAgent: { keepAlive: true, maxSockets: config.maxSockets },
      httpsAgent: { keepAlive: true, maxSockets: config.maxSockets },
      logger: silent,
    }),
  })
  const presign = new S3Client({
    ...common,
    endpoint: config.publicEndpoint ?? config.endpoint,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  return {
    s3,
    presign,
    destroy() {
      s3.destroy()
      presign.destroy()
    },
  }
}

/** The SDK's own log lines hold requests with their signatures. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
