import type { Authenticator } from '@fastify-scale/kit'
import type { FastifyRequest } from 'fastify'

/** True where a request counts as carrying `Authorization`: authenticated by any means, a cookie too. */
export function isAuthenticated(
  request: FastifyRequest,
  authenticator: Authenticator | undefined,
  ignoreCookies: boolean,
): boolean {
  const { headers } = request
  if (headers.authorization !== undefined) return true
  if (isKnownUser(request, authenticator)) return true
  return !ignoreCookies && headers.cookie !== undefined
}

/** True where something before the handler said who this is. */
export function isKnownUser(request: FastifyRequest, authenticator: Authenticator | undefined): boolean {
  const { user } = request as { user?: unknown }
  return (user !== undefined && user !== null) || authenticator?.isAuthenticated(request) === true
}
