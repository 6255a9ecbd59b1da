import { createHash, createHmac } from 'node:crypto'
import { DevServicesError } from './errors.ts'

/** Where an S3 server is and who asks. */
export interface S3Target {
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
}

/**
 * Sends one request without a body, signed with AWS Signature Version 4. Enough to make and look at buckets, so that
 * users of this package don't install an SDK that they may not want.
 * @param path path-style: `/bucket`
 * @param timeout ms
 * @throws SCALE_DEV_SERVICES_REQUEST_FAILED when nothing answers
 */
export async function s3Request(
  target: S3Target,
  method: 'GET' | 'HEAD' | 'PUT',
  path: string,
  timeout: number,
): Promise<{ status: number; body: string }> {
  const url = new URL(target.endpoint)
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const headers: Record<string, string> = {
    host: url.host,
    'x-amz-content-sha256': sha256(''),
    'x-amz-date': time,
  }
  const signed = Object.keys(headers).join(';')
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`)
  const canonical = [method, url.pathname, '', lines.join(''), signed, sha256('')].join('\n')
  const scope = `${time.slice(0, 8)}/${target.region}/s3/aws4_request`
  const key = scope.split('/').reduce<Buffer | string>(hmac, `AWS4${target.secretAccessKey}`)
  const signature = (hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`) as Buffer).toString('hex')
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${target.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`
  try {
    const response = await fetch(url, { method, headers, signal: AbortSignal.timeout(timeout) })
    return { status: response.status, body: await response.text() }
  } catch (error) {
    const { cause, message } = error as Error & { cause?: Error & { code?: string } }
    throw new DevServicesError(
      'SCALE_DEV_SERVICES_REQUEST_FAILED',
      `${url.host}: ${cause?.code ?? cause?.message ?? message}`,
      { cause: error },
    )
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
