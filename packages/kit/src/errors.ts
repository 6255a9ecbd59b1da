import createError, { type FastifyErrorConstructor } from '@fastify/error'

/** A constructor of coded errors: `new X('what went wrong')`. The message is the text given, whole. */
export type ScaleErrorConstructor = FastifyErrorConstructor<{ code: string; statusCode: number }, [string?]>

/**
 * Makes the constructor of one coded error.
 *
 * @param code `SCALE_<PACKAGE>_<WHAT>`, in capitals
 * @param message the text used when the constructor is given none; `%s` takes the constructor's first argument
 * @param statusCode the HTTP status if the error reaches a client; default 500
 */
export function createScaleError(code: string, message = '%s', statusCode = 500): ScaleErrorConstructor {
  return createError<[string?]>(code, message, statusCode) as ScaleErrorConstructor
}

/** A wrong option, found at registration. Status 500: it never reaches a client of a running service. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_KIT_OPTION')

/** Neither a `redis` option nor `fastify.redis` is there. */
export const NoRedisError: ScaleErrorConstructor = createScaleError('SCALE_KIT_NO_REDIS')

/** Something was not done within its bound. Status 503. */
export const DeadlineError: ScaleErrorConstructor = createScaleError('SCALE_KIT_DEADLINE', '%s', 503)

/** A function that makes the error for a wrong option; packages pass one with a code of their own. */
export type FailOption = (message: string) => Error

export const failOption: FailOption = (message) => new OptionError(message)

/** What went wrong, in words. Of a name with several addresses Node says only in the inner errors why none could be reached. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.message !== '') return error.message
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : []
  return first === undefined ? error.name : reasonOf(first)
}
