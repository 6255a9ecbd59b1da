import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, of the plugin or of one call. */
export const StorageOptionError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_OPTION')

/** The file is larger than `maxBytes`. */
export const TooLargeError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_TOO_LARGE', '%s', 413)

/** The form has more files than were asked for. */
export const TooManyFilesError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_TOO_MANY_FILES', '%s', 413)

/** The form has more fields or parts than a form of ours may have, or a field that is too long. */
export const TooManyPartsError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_TOO_MANY_PARTS', '%s', 413)

/** The type of the content, told from its first bytes, is not in `allowedTypes`. */
export const TypeNotAllowedError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_TYPE_NOT_ALLOWED', '%s', 415)

/** The request carries neither a multipart form nor a raw body. */
export const NotAnUploadError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_NOT_AN_UPLOAD', '%s', 415)

/** The client sent nothing, or next to nothing, for `idleTimeout`. */
export const ClientTimeoutError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_CLIENT_TIMEOUT', '%s', 408)

/** The client went away before the body was whole. */
export const ClientAbortedError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_CLIENT_ABORTED', '%s', 400)

/** The multipart body can't be parsed. */
export const MalformedError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_MALFORMED', '%s', 400)

/** The form has no file. */
export const NoFileError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_NO_FILE', '%s', 400)

/** All upload slots are taken. Carries `Retry-After`. */
export const BusyError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_BUSY', '%s', 503)

/** S3 is slow, unreachable or refuses. Carries `Retry-After`; the reason is in the log, not in the message. */
export const UnavailableError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_UNAVAILABLE', '%s', 503)

/** The process is closing. Carries `Retry-After`. */
export const ClosingError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_CLOSING', '%s', 503)

/** Something else has read the body before `upload()` could. */
export const BodyConsumedError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_BODY_CONSUMED')

/** The stream given to `put()` stalled for `idleTimeout`, was closed before its end, or was read before. */
export const SourceIncompleteError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_SOURCE_INCOMPLETE')

/** A URL or key that this storage did not make. */
export const ForeignUrlError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_FOREIGN_URL', '%s', 400)

/** There is no such object. */
export const NotFoundError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_NOT_FOUND', '%s', 404)

/** The content is not what its declared SHA-256 says, or changed while it was being looked at. */
export const ChecksumError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_CHECKSUM', '%s', 422)

/** Not all parts of a large direct upload were sent. The others can still be, and then it can be completed. */
export const IncompleteError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_INCOMPLETE', '%s', 409)

/** A name that is not in the asset manifest, or a manifest that is not there yet. */
export const UnknownAssetError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_UNKNOWN_ASSET')

/** The bucket can't be used as configured; the message names it and what is missing. */
export const NotReadyError: ScaleErrorConstructor = createScaleError('SCALE_STORAGE_NOT_READY', '%s', 503)

/** Gives an error the `Retry-After` header (seconds) that Fastify's error handling sends along. */
export function withRetryAfter<E extends Error>(error: E, seconds: number): E {
  return Object.assign(error, { headers: { 'retry-after': String(seconds) } })
}
