import type { IncomingHttpHeaders } from 'node:http'
import type { Compressor } from '@fastify-scale/kit'
import { answerFrom } from './answer.ts'
import { type StoredResponse, sendable } from './stored.ts'

/** The whole answer to a request that asks for nothing special, but for Age and Cache-Status. */
export interface Prepared {
  headers: readonly (readonly [name: string, value: string | string[]])[]
  payload: string | Buffer | undefined
}

/** More different Accept-Encoding headers than these are not those of honest clients. */
const MOST_FORMS = 16
const forms: WeakMap<StoredResponse, Map<string | undefined, Prepared>> = new WeakMap()

/** True where a request carries no condition, no range and nothing about caching. */
export function isPlain(headers: IncomingHttpHeaders): boolean {
  return (
    headers['cache-control'] === undefined &&
    headers['if-none-match'] === undefined &&
    headers['if-modified-since'] === undefined &&
    headers.range === undefined &&
    headers.pragma === undefined
  )
}

/** The answer for this Accept-Encoding, made once for each stored response. */
export function preparedFor(
  stored: StoredResponse,
  acceptEncoding: string | undefined,
  compressor: Compressor | undefined,
): Prepared {
  let made = forms.get(stored)
  if (!made) forms.set(stored, (made = new Map()))
  let prepared = made.get(acceptEncoding)
  if (!prepared) {
    if (made.size >= MOST_FORMS) made.clear()
    made.set(acceptEncoding, (prepared = prepare(stored, acceptEncoding, compressor)))
  }
  return prepared
}

function prepare(
  stored: StoredResponse,
  acceptEncoding: string | undefined,
  compressor: Compressor | undefined,
): Prepared {
  const client = acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding }
  const { headers, body } = answerFrom(stored, 'GET', client, compressor, stored.at)
  delete headers['age']
  const plain = body === stored.bodies['identity']
  return {
    headers: Object.entries(headers),
    payload: !body?.length ? undefined : plain ? sendable(body, headers['content-type']) : body,
  }
}
