import { type ScaleErrorConstructor, createScaleError } from '@fastify-scale/kit'

/** A wrong option, found at registration. */
export const AuthOptionError: ScaleErrorConstructor = createScaleError('SCALE_AUTH_OPTION')

/** A key or key set that must not be used: too short, of the wrong kind, duplicate, for another purpose. */
export const AuthKeyError: ScaleErrorConstructor = createScaleError('SCALE_AUTH_KEY')

/** The call needs what was not configured: sessions, a signing key, cookies. */
export const AuthUnsupportedError: ScaleErrorConstructor = createScaleError('SCALE_AUTH_UNSUPPORTED')

/** Something given to login, refresh or revoke by the service itself is wrong, for example a `sub` that is no text. */
export const AuthArgumentError: ScaleErrorConstructor = createScaleError('SCALE_AUTH_ARGUMENT')

/** No token was sent. Answered with a bare challenge (RFC 6750, 3). */
export const TokenMissingError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_TOKEN_MISSING',
  'No access token was sent: send it as "Authorization: Bearer <token>"',
  401,
)

/** The Authorization header, or the cookie, is not of the right form (RFC 6750, 3.1: invalid_request). */
export const CredentialsMalformedError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_CREDENTIALS_MALFORMED',
  'The credentials are malformed: send one token as "Authorization: Bearer <token>"',
  400,
)

/** The token is not one that this service accepts. The message says why, for logs; it holds nothing of the token. */
export const TokenInvalidError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_TOKEN_INVALID',
  'The access token is invalid: %s',
  401,
)

/** The token was good and is too old: refresh it. */
export const TokenExpiredError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_TOKEN_EXPIRED',
  'The access token has expired',
  401,
)

/** The token was good and has been revoked: log in again. */
export const TokenRevokedError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_TOKEN_REVOKED',
  'The access token has been revoked',
  401,
)

/** Authenticated, and without the role or scope that the route needs (RFC 6750, 3.1: insufficient_scope). */
export const InsufficientScopeError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_INSUFFICIENT_SCOPE',
  'This needs %s',
  403,
)

/** A cookie came with a request that another site may have caused: neither Sec-Fetch-Site nor Origin is ours. */
export const CrossSiteError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_CROSS_SITE',
  'A request authenticated by cookie must come from this site: neither Sec-Fetch-Site nor Origin shows that',
  403,
)

/** The refresh token is unknown, expired, or of a session that has ended: log in again. */
export const RefreshInvalidError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_REFRESH_INVALID',
  'The refresh token is invalid or its session has ended',
  401,
)

/** A refresh token was used again after its successor was handed out: the session was ended and its tokens revoked. */
export const RefreshReusedError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_REFRESH_REUSED',
  'The refresh token was used before: its session has been ended',
  401,
)

/** Redis did not answer in time: nothing that was asked may be taken as done. */
export const AuthUnavailableError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_UNAVAILABLE',
  'Sessions are not available now (%s); try again',
  503,
)

/** What is known of revocations is older than the route allows. */
export const AuthStaleError: ScaleErrorConstructor = createScaleError(
  'SCALE_AUTH_STALE',
  'What this process knows of revocations is %s old, more than this route allows; try again',
  503,
)
