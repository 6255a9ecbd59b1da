import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, found at registration. */
export const OptionError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_OPTION')

/** `publish()` was not confirmed within `publishTimeout`: it is unknown whether the message was stored. Status 503. */
export const PublishTimeoutError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_PUBLISH_TIMEOUT', '%s', 503)

/** `publish()` was called with more waiting than is kept. Nothing was stored. Status 503. */
export const PublishOverflowError: ScaleErrorConstructor = createScaleError(
  'SCALE_REALTIME_PUBLISH_OVERFLOW',
  '%s',
  503,
)

/** `publish()` was called with something that can't be sent: a bad room name or `id`, data that JSON can't hold. */
export const PublishInvalidError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_PUBLISH_INVALID', '%s', 400)

/** `presence()` or `join()` of a room where that is not set up. */
export const RoomOptionError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_ROOM_OPTION')

/** Redis did not answer in time. Status 503. */
export const UnavailableError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_UNAVAILABLE', '%s', 503)

/** The server is closing. Status 503. */
export const ClosedError: ScaleErrorConstructor = createScaleError('SCALE_REALTIME_CLOSED', '%s', 503)

/** A request for long polling, which is not served. Status 426, with `Upgrade: websocket`. */
export const WebsocketOnlyError: ScaleErrorConstructor = createScaleError(
  'SCALE_REALTIME_WEBSOCKET_ONLY',
  "This service speaks websocket only: connect with { transports: ['websocket'] }",
  426,
)
