import type { Multipart, MultipartFile } from '@fastify/multipart'
import { BodyConsumedError, MalformedError, TooManyPartsError } from './errors.ts'
import type { Patience } from './patience.ts'
import { createReader, peek } from './reader.ts'
import type { IncomingFile, UploadSource } from './source.ts'

/** Fields, and file inputs that were left empty, that a form may have besides its files. */
const MAX_FIELDS = 200
/** Bytes that the value of one field may have. */
const MAX_FIELD_BYTES = 64 * 1_024

/** More than the parts around the files of one form can take, in bytes. */
export const FORM_OVERHEAD: number = MAX_FIELDS * (MAX_FIELD_BYTES + 1_024)

/** What is used of a request that @fastify/multipart decorated. */
export interface MultipartRequest {
  parts(options: object): AsyncIterableIterator<Multipart>
}

/**
 * The parts of a multipart request. The limits are given with the call, so those of an existing registration, which would
 * cut a file off at its `fileSize` and report success, do not apply.
 */
export function multipartSource(request: MultipartRequest, maxFiles: number, patience: Patience): UploadSource {
  // One more, so that one too many is seen and refused, not skipped.
  const maxParts = MAX_FIELDS + maxFiles + 1
  const parts = request.parts({
    throwFileSizeLimit: false,
    limits: {
      fileSize: Number.POSITIVE_INFINITY,
      // Inputs that were left empty count here, too; the files among them are counted where they are stored.
      files: maxParts,
      fields: MAX_FIELDS,
      fieldSize: MAX_FIELD_BYTES,
      fieldNameSize: 256,
      headerPairs: 100,
      parts: maxParts,
    },
  })
  return {
    async next() {
      const step = await patience.wait(parts.next()).catch((error: unknown) => {
        throw toCoded(error)
      })
      if (step.done) return null
      const part = step.value
      if (part.type === 'file') {
        const file = fileOfPart(part, patience)
        if (part.filename) return file
        // What a browser sends for a file input that was left empty.
        const { head, next } = await peek(file.reader.next, 1)
        if (head.length === 0) return this.next()
        return { ...file, reader: { ...file.reader, next } }
      }
      if (part.valueTruncated || part.fieldnameTruncated)
        throw new TooManyPartsError(`a form field is longer than ${MAX_FIELD_BYTES} bytes`)
      const value = typeof part.value === 'string' ? part.value : JSON.stringify(part.value)
      patience.sent(part.fieldname.length + value.length)
      return { type: 'field', name: part.fieldname, value }
    },
  }
}

/** A file part, ours or one that the caller took from the form. */
export function fileOfPart(part: MultipartFile, patience: Patience): IncomingFile {
  const { next, stop } = createReader(part.file, patience)
  return {
    type: 'file',
    declaredType: part.mimetype,
    isTruncated: () => part.file.truncated,
    reader: {
      stop,
      next: () =>
        next().catch((error: unknown) => {
          throw toCoded(error)
        }),
    },
  }
}

/** The parts that `attachFieldsToBody: true` has read into memory already. */
export function attachedSource(body: object): UploadSource {
  const parts = Object.values(body).flat() as (Multipart & { _buf?: Buffer | null })[]
  return {
    async next() {
      const part = parts.shift()
      if (part === undefined) return null
      if (part?.type === 'field') {
        if (part.valueTruncated || part.fieldnameTruncated)
          throw new TooManyPartsError('a form field was cut off by the limits of the form parser that read it')
        return {
          type: 'field',
          name: part.fieldname,
          value: typeof part.value === 'string' ? part.value : JSON.stringify(part.value),
        }
      }
      const buffer = part?._buf
      if (part?.type !== 'file' || !Buffer.isBuffer(buffer))
        throw new BodyConsumedError(
          "the form was read before upload(): @fastify/multipart is registered with attachFieldsToBody: 'keyValues' or with onFile, which leave no file to store; register it without, or put the upload route where it does not reach",
        )
      if (!part.filename && buffer.length === 0) return this.next()
      let given = false
      return {
        type: 'file',
        declaredType: part.mimetype,
        length: buffer.length,
        isTruncated: () => part.file.truncated,
        reader: {
          stop() {},
          async next() {
            if (given || buffer.length === 0) return null
            given = true
            return buffer
          },
        },
      }
    },
  }
}

/** What the parser reports, in our words: a form that can't be read is the client's mistake, limits are limits. */
function toCoded(error: unknown): unknown {
  const { code, message = '' } = error as { code?: string; message?: string }
  if (code?.startsWith('SCALE_')) return error
  if (code === 'FST_PARTS_LIMIT' || code === 'FST_FIELDS_LIMIT' || code === 'FST_FILES_LIMIT')
    return new TooManyPartsError('the form has too many parts')
  return new MalformedError(`the multipart body can't be read: ${message.slice(0, 200)}`)
}
