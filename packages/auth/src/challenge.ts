import {
  CredentialsMalformedError,
  InsufficientScopeError,
  TokenExpiredError,
  TokenInvalidError,
  TokenMissingError,
  TokenRevokedError,
} from './errors.ts'

/**
 * The value of `WWW-Authenticate` for an error (RFC 6750, 3), or undefined where none belongs to it. A request without
 * credentials gets no error code.
 *
 * @param scope the scopes that the route needs, with a space between
 */
export function challengeFor(error: unknown, scope?: string): string | undefined {
  if (error instanceof TokenMissingError) return 'Bearer'
  if (error instanceof TokenExpiredError)
    return 'Bearer error="invalid_token", error_description="The access token has expired"'
  if (error instanceof TokenRevokedError)
    return 'Bearer error="invalid_token", error_description="The access token has been revoked"'
  if (error instanceof TokenInvalidError) return 'Bearer error="invalid_token"'
  if (error instanceof InsufficientScopeError)
    return scope ? `Bearer error="insufficient_scope", scope="${scope}"` : 'Bearer error="insufficient_scope"'
  if (error instanceof CredentialsMalformedError) return 'Bearer error="invalid_request"'
  return undefined
}
