import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, at registration or in a route's `config.compress`. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_COMPRESS_OPTION')

/** An encoding that this Node.js can't make (zstd needs Node.js 22.15 or 23.8). */
export const UnsupportedEncodingError: ScaleErrorConstructor = createScaleError('SCALE_COMPRESS_UNSUPPORTED_ENCODING')

/** Another plugin is set to decompress request bodies already. */
export const RequestsTakenError: ScaleErrorConstructor = createScaleError('SCALE_COMPRESS_REQUESTS_TAKEN')

/** The client refuses every encoding there is, `identity` too. Status 406. */
export const NotAcceptableError: ScaleErrorConstructor = createScaleError(
  'SCALE_COMPRESS_NOT_ACCEPTABLE',
  'None of the encodings in Accept-Encoding can be made, and identity is refused',
  406,
)
