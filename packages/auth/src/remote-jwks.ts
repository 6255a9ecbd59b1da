import { AuthKeyError } from './errors.ts'
import type { Jwks } from './keys.ts'

const MAX_BYTES = 512 * 1_024
const TIMEOUT_MS = 5_000

/**
 * Fetches a JWK set. Redirects are not followed (they would move the trust elsewhere), and the answer is bounded in time
 * and size.
 *
 * @throws SCALE_AUTH_KEY
 */
export async function fetchJwks(url: URL, signal: AbortSignal): Promise<Jwks> {
  try {
    const response = await fetch(url, {
      redirect: 'error',
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    if (!response.ok) {
      await response.body?.cancel()
      throw new AuthKeyError(`it answered ${response.status}`)
    }
    return JSON.parse(await readBounded(response)) as Jwks
  } catch (error) {
    throw new AuthKeyError(`the key set at ${url.origin}${url.pathname} can't be had: ${reasonOf(error)}`)
  }
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_BYTES) throw new AuthKeyError(`it is larger than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message} (${cause.message})` : message
}
