import { isNoTransform } from './headers.ts'
import { negotiate } from './negotiate.ts'
import type { ResolvedRoute } from './options.ts'
import type { Encoding } from './encodings.ts'

/** What is known of an answer when it is about to be sent. */
export interface Answer {
  method: string
  status: number
  /** A response header, by its name in lower case. */
  header(name: string): string | number | string[] | undefined
  /** The request's Accept-Encoding. */
  acceptEncoding: string | undefined
  /** Size of the body in bytes; `undefined` where only its end will tell. */
  size: number | undefined
}

/** What to do with it. */
export interface Decision {
  /** The answer's form depends on Accept-Encoding: caches must know, also where this one is sent as it is. */
  vary: boolean
  /** The encoding to send it in; `null` where the client accepts none at all. */
  encoding: Encoding | 'identity' | null
}

const LEAVE: Decision = { vary: false, encoding: 'identity' }
const IDENTITY: Decision = { vary: true, encoding: 'identity' }

/** Decides whether and how an answer is encoded. Reads nothing but its arguments. */
export function decide(answer: Answer, options: ResolvedRoute): Decision {
  const { method, status, size } = answer
  if (status < 200 || status === 204) return LEAVE
  const type = answer.header('content-type')
  // A 304 has no content and often no type, but says what the 200 would say (RFC 9110, 15.4.5).
  if (type === undefined ? status !== 304 : !options.compressible(String(type))) return LEAVE
  if (isNoTransform(answer.header('cache-control'))) return LEAVE
  const coded = answer.header('content-encoding')
  if (coded !== undefined && coded !== 'identity') return IDENTITY
  // Ranges and digests speak of the bytes as they are.
  if (status === 206 || answer.header('content-range') !== undefined) return IDENTITY
  for (const name of ['content-digest', 'content-md5', 'digest']) if (answer.header(name) !== undefined) return IDENTITY

  const encoding = negotiate(answer.acceptEncoding, options.encodings) as Encoding | 'identity' | null
  // What was done stays done: only reading is answered with a refusal.
  if (encoding === null)
    return status < 300 && (method === 'GET' || method === 'HEAD') ? { vary: true, encoding } : IDENTITY
  if (status === 304) return { vary: true, encoding }
  if (size !== undefined && size < options.threshold && negotiate(answer.acceptEncoding, []) !== null) return IDENTITY
  if (size === 0) return IDENTITY
  return { vary: true, encoding }
}
