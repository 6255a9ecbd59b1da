import { isUtf8 } from 'node:buffer'
import type { Entry } from '../entry.ts'

/** A stored response. */
export interface StoredResponse {
  status: number
  /** Without hop-by-hop fields, Content-Length, Age. */
  headers: Record<string, string | string[]>
  /** Wall clock when it arrived or was last validated, ms since 1970. */
  at: number
  /** Age at that moment, in ms. */
  age: number
  /** Freshness lifetime, in ms. */
  lifetime: number
  staleWhileRevalidate: number
  staleIfError: number
  alwaysValidate: boolean
  neverStale: boolean
  shared: boolean
  /** Bodies by content coding; `identity` is always there. */
  bodies: Record<string, Buffer>
}

/** Stands under the URL where responses differ by request headers: their names. */
export interface VaryMarker {
  vary: readonly string[]
}

type Head = Omit<StoredResponse, 'bodies'> & { sizes: [coding: string, bytes: number][] }

/** Four bytes of length, JSON, then the bodies one after another. */
export function encodeStored(stored: StoredResponse | VaryMarker): Buffer {
  const { bodies, ...rest } = 'bodies' in stored ? stored : { ...stored, bodies: {} }
  const entries = Object.entries(bodies)
  const head = Buffer.from(
    JSON.stringify('vary' in rest ? rest : { ...rest, sizes: entries.map(([coding, body]) => [coding, body.length]) }),
  )
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(head.length)
  return Buffer.concat([length, head, ...entries.map(([, body]) => body)])
}

const decoded: WeakMap<Entry, StoredResponse | VaryMarker> = new WeakMap()

/** Reads a stored response; once for each entry. `undefined` where it is damaged. */
export function decodeStored(entry: Entry): StoredResponse | VaryMarker | undefined {
  let stored = decoded.get(entry)
  if (stored) return stored
  try {
    const { payload } = entry
    let at = 4 + payload.readUInt32BE(0)
    const head = JSON.parse(payload.toString('utf8', 4, at)) as Head | VaryMarker
    if ('vary' in head) stored = head
    else {
      const { sizes, ...rest } = head
      const bodies: Record<string, Buffer> = {}
      for (const [coding, bytes] of sizes) bodies[coding] = payload.subarray(at, (at += bytes))
      if (at !== payload.length) return undefined
      stored = { ...rest, bodies }
    }
  } catch {
    return undefined
  }
  decoded.set(entry, stored)
  return stored
}

/** Up to this size a text is written in one piece with its headers, which costs less than two. */
const LARGEST_TEXT = 8_192
const texts: WeakMap<Buffer, string | Buffer> = new WeakMap()

/** A body in the form that is cheapest to send: small texts as text, with the same bytes. */
export function sendable(body: Buffer, contentType: string | string[] | undefined): string | Buffer {
  if (body.length > LARGEST_TEXT) return body
  let form = texts.get(body)
  if (form === undefined) {
    // Only where Fastify would not add a charset of its own.
    form =
      typeof contentType === 'string' && /charset=utf-8/i.test(contentType) && isUtf8(body) ? body.toString() : body
    texts.set(body, form)
  }
  return form
}
