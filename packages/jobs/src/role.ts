import type { Role } from './types.ts'

const ROLES: readonly string[] = ['web', 'jobs', 'all'] satisfies Role[]

export function isRole(value: unknown): value is Role {
  return typeof value === 'string' && ROLES.includes(value)
}

/**
 * What this process does: what the option says, else what the launcher says (`FASTIFY_SCALE_ROLE`, which it sets for
 * its workers), else everything.
 */
export function resolveRole(option: Role | undefined, env: Readonly<Record<string, string | undefined>>): Role {
  if (option !== undefined) return option
  const role = env['FASTIFY_SCALE_ROLE']
  return isRole(role) ? role : 'all'
}
