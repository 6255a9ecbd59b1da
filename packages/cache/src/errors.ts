import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, at registration or in a call: a ttl that is negative, a tag that is empty. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_OPTION')

/** A key that is not a text of at least one character. */
export const KeyError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_KEY')

/** Redis did not carry it out within its bound. What was asked for may or may not have happened: ask again. Status 503. */
export const UnavailableError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_UNAVAILABLE', '%s', 503)

/** The loader took longer than `loaderTimeout`; its signal was aborted. Status 504. */
export const LoaderTimeoutError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_LOADER_TIMEOUT', '%s', 504)

/** The loader resolved to `undefined`: "nothing" is `null`. */
export const LoaderUndefinedError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_LOADER_UNDEFINED')

/** The serializer could not turn the value into bytes: a BigInt, a cycle, a function. */
export const NotSerializableError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_NOT_SERIALIZABLE')

/** `set` was given a value larger than `maxValueSize`. */
export const TooLargeError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_TOO_LARGE')

/** A loader's error that was cached (`errorTtl`): name, message and code of the original. Status: the original's. */
export const CachedError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_LOADER_FAILED')

/** The cache was closed. Status 503. */
export const ClosedError: ScaleErrorConstructor = createScaleError('SCALE_CACHE_CLOSED', '%s', 503)

/** Makes the error for a wrong option; handed to kit's checks. */
export const failOption = (message: string): Error => new OptionError(message)
