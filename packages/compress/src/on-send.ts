import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { encodedChannel } from './channels.ts'
import { decide } from './decide.ts'
import { type Encoding, codecOf } from './encodings.ts'
import { NotAcceptableError } from './errors.ts'
import { encodeStream } from './flush.ts'
import { weakened, withVary } from './headers.ts'
import type { ResolvedOptions, ResolvedRoute } from './options.ts'

export type Done = (error: Error | null, payload?: unknown) => void
export type OnSend = (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done) => void

/** True on a reply whose encoding is another's; decorated, so that setting it costs nothing. */
export const kTaken: unique symbol = Symbol('fastify-scale.compress.taken')

/** On a reply that was said to be encoded: the hook that said so. Decorated too. */
export const kEncodedBy: unique symbol = Symbol('fastify-scale.compress.encodedBy')

interface Marks {
  [kTaken]?: boolean
  [kEncodedBy]?: OnSend | null
}

/** Leaves the encoding of this reply to the caller. */
export function takeOver(reply: Marks): void {
  reply[kTaken] = true
}

/** Makes the `onSend` hook for one set of options. */
export function createOnSend(route: ResolvedRoute, { syncLimit }: Pick<ResolvedOptions, 'syncLimit'>): OnSend {
  return scaleCompressOnSend

  function scaleCompressOnSend(request: FastifyRequest, reply: FastifyReply & Marks, sent: unknown, done: Done): void {
    if (reply[kTaken]) return done(null, sent)
    // A second time for one reply: what was encoded could not be sent, and this is the error that is sent instead.
    if (reply[kEncodedBy] === scaleCompressOnSend) reply.removeHeader('content-encoding')
    const payload = isResponse(sent) ? unwrapResponse(reply, sent) : sent
    const { vary, encoding } = decide(
      {
        method: request.method,
        status: reply.statusCode,
        header: (name) => reply.getHeader(name),
        acceptEncoding: acceptEncodingOf(request),
        size: sizeOf(request.method, payload, reply),
      },
      route,
    )
    if (!vary) return done(null, payload)
    const varyHeader = withVary(reply.getHeader('vary'))
    if (varyHeader !== undefined) reply.header('vary', varyHeader)
    if (encoding === null) {
      discard(payload)
      return done(new NotAcceptableError())
    }
    if (encoding === 'identity') return done(null, payload)
    if (reply.statusCode === 304) {
      weakenEtag(reply)
      return done(null, payload)
    }
    if (isBody(payload)) {
      if (request.method === 'HEAD') {
        announce(reply, encoding)
        return done(null, null)
      }
      return encodeBody(reply, encoding, payload, done)
    }
    // What is neither, or was read already, Fastify refuses, and says why.
    if (payload !== null && !isReadable(payload)) return done(null, payload)
    announce(reply, encoding)
    if (request.method === 'HEAD') return done(null, payload)
    const encoder = codecOf(encoding).stream(route.levels[encoding])
    const source = isWebStream(payload) ? Readable.fromWeb(payload) : (payload as Readable)
    done(null, encodeStream(source, encoder, route.flush ? codecOf(encoding).flushKind : undefined))
  }

  /** Sets the headers of an encoded answer. Fastify puts the new length where it is known. */
  function announce(reply: FastifyReply & Marks, encoding: Encoding): void {
    reply[kEncodedBy] = scaleCompressOnSend
    reply.header('content-encoding', encoding)
    reply.removeHeader('content-length')
    // Ranges of what we encode on the way out can't be served.
    reply.removeHeader('accept-ranges')
    weakenEtag(reply)
  }

  function encodeBody(reply: FastifyReply, encoding: Encoding, payload: string | Uint8Array, done: Done): void {
    const body =
      typeof payload === 'string'
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    const level = route.levels[encoding]
    const finish = (encoded: Buffer): void => {
      encodedChannel.publish(() => ({
        encoding,
        bytesIn: body.length,
        bytesOut: encoded.length,
        purpose: 'answer',
      }))
      announce(reply, encoding)
      done(null, encoded)
    }
    if (body.length > syncLimit)
      return codecOf(encoding).async(body, level, (failed, encoded) => {
        if (failed) return done(failed)
        try {
          finish(encoded)
        } catch (error) {
          // A header that can't be sent, for one: outside Fastify's call it would end the process.
          done(error as Error)
        }
      })
    let encoded: Buffer
    try {
      encoded = codecOf(encoding).sync(body, level)
    } catch (error) {
      return done(error as Error)
    }
    finish(encoded)
  }
}

function weakenEtag(reply: FastifyReply): void {
  const etag = weakened(reply.getHeader('etag'))
  if (etag !== undefined) reply.header('etag', etag)
}

function acceptEncodingOf(request: FastifyRequest): string | undefined {
  const value = request.headers['accept-encoding'] as string | string[] | undefined
  return Array.isArray(value) ? value.join(',') : value
}

/** Nothing is sent for HEAD, but it says what GET would: there no payload is an unknown one. */
function sizeOf(method: string, payload: unknown, reply: FastifyReply): number | undefined {
  if (isBody(payload)) return Buffer.byteLength(payload)
  if (method !== 'HEAD' && (payload === null || payload === undefined)) return 0
  const length = reply.getHeader('content-length')
  return length === undefined ? undefined : Number(length)
}

function isBody(payload: unknown): payload is string | Uint8Array {
  return typeof payload === 'string' || payload instanceof Uint8Array
}

function isWebStream(payload: unknown): payload is ReadableStream {
  return typeof (payload as Partial<ReadableStream> | null)?.getReader === 'function'
}

function isReadable(payload: unknown): boolean {
  if (isWebStream(payload)) return !payload.locked
  return typeof (payload as Partial<Readable> | undefined)?.pipe === 'function'
}

function isResponse(payload: unknown): payload is Response {
  return Object.prototype.toString.call(payload) === '[object Response]'
}

/** What Fastify does after `onSend`; its headers are needed now. */
function unwrapResponse(reply: FastifyReply, response: Response): unknown {
  reply.code(response.status)
  for (const [name, value] of response.headers) reply.header(name, value)
  return response.bodyUsed ? response : response.body
}

/** Ends a stream that nobody will read. */
function discard(payload: unknown): void {
  if (isWebStream(payload)) payload.cancel().catch(() => undefined)
  else (payload as Partial<Readable> | null)?.destroy?.()
}
