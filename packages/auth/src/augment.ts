import type { AuthRouteConfig, Guard } from './guards.ts'
import type { ScaleAuth } from './plugin.ts'
import type { Requirement } from './requirement.ts'
import type { RequestUser, Role } from './user.ts'

/**
 * `request.user`. Inherited rather than declared on the request, so that a service whose own @fastify/jwt types declare
 * `user` keeps them (and gives ours another name with `decorators.user`).
 */
export interface AuthenticatedRequest {
  /** The verified claims; set by the guards, null on routes without one. */
  user: RequestUser
}

declare module 'fastify' {
  interface FastifyRequest extends AuthenticatedRequest {}
  interface FastifyInstance {
    auth: ScaleAuth
    /** A guard: 401 without a good token. */
    authenticate: Guard
    /** Makes a guard: also 403 without the role; several names, or `{ any }`: one of them; `{ all }`: every one. */
    requireRole: (...roles: Requirement<Role>[]) => Guard
    /** Makes a guard: also 403 without the scope. */
    requireScope: (...scopes: Requirement[]) => Guard
  }
  interface FastifyContextConfig {
    auth?: AuthRouteConfig
  }
}
