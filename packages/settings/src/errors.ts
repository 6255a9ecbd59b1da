import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, at registration. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_OPTION')

/** A setting that the schema does not have. Status 404. */
export const UnknownSettingError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_UNKNOWN', '%s', 404)

/** A value that the setting's schema refuses, that JSON can't carry, or that is too large. Status 400. */
export const InvalidValueError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_INVALID', '%s', 400)

/** Somebody else has changed the setting since the version given as `ifVersion`. Status 409. */
export const ConflictError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_CONFLICT', '%s', 409)

/** Redis did not answer in time. The change may or may not have been made; it will not be made any more. Status 503. */
export const UnavailableError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_UNAVAILABLE', '%s', 503)

/** No settings have been loaded since this process started. Only readiness sees it. */
export const NotLoadedError: ScaleErrorConstructor = createScaleError('SCALE_SETTINGS_NOT_LOADED', '%s', 503)
