import { GetObjectCommand } from '@aws-sdk/client-s3'
import { backoff, pause } from '@fastify-scale/kit'
import { UnknownAssetError } from '../errors.ts'
import { S3Error, toS3Error } from '../s3-call.ts'
import type { UploadDeps } from '../upload.ts'

/** What `publish` wrote: where each file lies. */
export interface Manifest {
  version: 1
  /** By the file's path in the published directory, with `/`. */
  assets: Record<string, ManifestEntry>
}

export interface ManifestEntry {
  key: string
  /** Key of a variant with Content-Encoding gzip, where one is worth it. */
  gzip?: string
  /** Bytes. */
  size: number
  /** For the `integrity` attribute (Subresource Integrity); of the plain content. */
  integrity: string
}

/** The key of the manifest of the latest publication, or of one release. */
export function manifestKey(prefix: string, release?: string): string {
  return `${prefix}/manifest${release === undefined ? '' : `-${release}`}.json`
}

export function parseManifest(text: string): Manifest {
  let parsed: Partial<Manifest> | null = null
  try {
    parsed = JSON.parse(text) as Partial<Manifest> | null
  } catch {
    // Refused below.
  }
  if (parsed?.version !== 1 || typeof parsed.assets !== 'object' || parsed.assets === null)
    throw new UnknownAssetError('the asset manifest is not one that fastify-scale-storage publish writes')
  return { version: 1, assets: parsed.assets }
}

export interface ManifestLoader {
  readonly manifest: Manifest | undefined
  /** Why there is none yet. */
  readonly reason: string
  /** Settles with the first attempt, good or bad; the attempts go on in the background until one works. */
  start(): Promise<void>
  stop(): void
}

/** Loads a manifest from the bucket, for as long as it takes. */
export function createManifestLoader(
  deps: Pick<UploadDeps, 's3' | 'call' | 'bucket'>,
  key: string,
  retryDelay: number,
): ManifestLoader {
  const stop = new AbortController()
  let manifest: Manifest | undefined
  let reason = 'it was not asked for yet'

  async function load(): Promise<void> {
    try {
      const text = await deps.call(async (o) => {
        const { Body } = await deps.s3.send(new GetObjectCommand({ Bucket: deps.bucket, Key: key }), o)
        return Body?.transformToString()
      }, stop.signal)
      manifest = parseManifest(text ?? '')
    } catch (error) {
      const missing = error instanceof S3Error && error.missing
      reason = missing
        ? `there is no ${key} in bucket '${deps.bucket}': run fastify-scale-storage publish`
        : error instanceof UnknownAssetError
          ? error.message
          : `${key} in bucket '${deps.bucket}' can't be read (${toS3Error(error).failure.reason})`
    }
  }
  async function keepTrying(): Promise<void> {
    for (let attempt = 1; manifest === undefined && !stop.signal.aborted; attempt++) {
      await pause(backoff(attempt, retryDelay, retryDelay * 10), stop.signal)
      if (!stop.signal.aborted) await load()
    }
  }

  return {
    get manifest() {
      return manifest
    },
    get reason() {
      return reason
    },
    async start() {
      await load()
      void keepTrying()
    },
    stop: () => stop.abort(),
  }
}
