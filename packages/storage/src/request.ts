import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { Readable } from 'node:stream'
import type { MultipartFile } from '@fastify/multipart'
import { BodyConsumedError, NotAnUploadError, TooLargeError } from './errors.ts'
import { showBytes } from './meter.ts'
import {
  FORM_OVERHEAD,
  type MultipartRequest,
  attachedSource,
  fileOfPart,
  multipartSource,
} from './multipart-source.ts'
import type { Patience } from './patience.ts'
import { createReader } from './reader.ts'
import { type UploadSource, singleFile } from './source.ts'

export type RawRequest = IncomingMessage | Http2ServerRequest

/** What `upload()` uses of a Fastify request; any `FastifyRequest`, whatever its type parameters. */
export interface UploadRequest {
  readonly raw: RawRequest
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}

/**
 * Finds the files of a request: the part that the caller took from the form himself, the form, or a raw body.
 *
 * @throws SCALE_STORAGE_TOO_LARGE where Content-Length says so already; SCALE_STORAGE_NOT_AN_UPLOAD (415) where there is
 * neither form nor raw body; SCALE_STORAGE_BODY_CONSUMED where something read the body before
 */
export function sourceOf(
  request: UploadRequest,
  limits: { maxBytes: number; maxFiles: number; part?: MultipartFile },
  patience: Patience,
): UploadSource {
  if (limits.part) return singleFile(fileOfPart(limits.part, patience))
  const length = contentLength(request.headers)
  if (isMultipart(request)) {
    const { maxBytes, maxFiles } = limits
    if (length !== undefined && length > maxBytes * maxFiles + FORM_OVERHEAD)
      throw new TooLargeError(`the upload is larger than ${showBytes(maxBytes * maxFiles)}`)
    if (typeof request.body === 'object' && request.body !== null) return attachedSource(request.body)
    if (request.raw.readableEnded || request.raw.destroyed) throw consumed()
    return multipartSource(request, maxFiles, patience)
  }
  if (request.body instanceof Readable) {
    if (request.body.readableEnded || request.body.readableDidRead) throw consumed()
    // A hook that transforms the body makes its own length of it.
    const known = request.body === request.raw && request.headers['content-encoding'] === undefined
    return singleFile({
      declaredType: request.headers['content-type'],
      length: known ? length : undefined,
      reader: createReader(request.body, patience),
    })
  }
  throw new NotAnUploadError(
    'send the file as multipart/form-data; a raw body is taken only where acceptRawBodies() was called',
  )
}

/** Decorated by @fastify/multipart, and a form. */
function isMultipart(request: UploadRequest): request is UploadRequest & MultipartRequest {
  const decorated = request as { isMultipart?: () => boolean; parts?: unknown }
  return (
    typeof decorated.isMultipart === 'function' &&
    typeof decorated.parts === 'function' &&
    decorated.isMultipart() === true
  )
}

function contentLength(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['content-length']
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function consumed(): Error {
  return new BodyConsumedError('the body of this request was read before upload()')
}
