import type { AuthRouteConfig, Guard } from './guards.ts'
import type { ScaleAuth } from './plugin.ts'
import type { Requirement } from './requirement.ts'
import type { RequestUser, Role } from './user.ts'

/**
 * Where the option `decorators` gives other names, augment this with the same ones and the types follow, beside those of
 * @fastify/jwt (`request.user`) or @fastify/auth (`app.auth`):
 *
 * ```ts
 * declare module '@fastify-scale/auth' {
 *   interface RenamedDecorators { user: 'identity'; auth: 'tokens' }
 * }
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- users augment it
export interface RenamedDecorators {}

type Renamed<T> = {
  [K in keyof T as K extends keyof RenamedDecorators ? RenamedDecorators[K] & string : K]: T[K]
}

/** What the plugin puts on the request. */
export interface AuthenticatedRequest {
  /** The verified claims; set by the guards, null on routes without one. */
  user: RequestUser
}

/** What the plugin puts on the instance. */
export interface AuthenticatedInstance {
  auth: ScaleAuth
  /** A guard: 401 without a good token. */
  authenticate: Guard
  /** Makes a guard: also 403 without the role; several names, or `{ any }`: one of them; `{ all }`: every one. */
  requireRole: (...roles: Requirement<Role>[]) => Guard
  /** Makes a guard: also 403 without the scope. */
  requireScope: (...scopes: Requirement[]) => Guard
}

declare module 'fastify' {
  interface FastifyRequest extends Renamed<AuthenticatedRequest> {}
  interface FastifyInstance extends Renamed<AuthenticatedInstance> {}
  interface FastifyContextConfig {
    auth?: AuthRouteConfig
  }
}
