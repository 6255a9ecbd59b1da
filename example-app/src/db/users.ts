import type { Pool } from 'pg'

export interface User {
  id: string
  name: string
  roles: ('user' | 'admin')[]
}

export const queries = {
  add: `INSERT INTO users (name, password_hash, roles) VALUES ($1, $2, $3) ON CONFLICT (lower(name)) DO NOTHING RETURNING id, name, roles`,
  findByName: 'SELECT id, name, roles, password_hash AS "passwordHash" FROM users WHERE lower(name) = lower($1)',
  names: 'SELECT name FROM users WHERE id = ANY($1::uuid[]) ORDER BY lower(name) LIMIT 100',
} as const

/** Adds a user; `undefined` where the name is taken, in whatever case. */
export async function addUser(
  db: Pool,
  user: { name: string; passwordHash: string; roles: User['roles'] },
): Promise<User | undefined> {
  const { rows } = await db.query<User>(queries.add, [user.name, user.passwordHash, user.roles])
  return rows[0]
}

export async function findUserByName(db: Pool, name: string): Promise<(User & { passwordHash: string }) | undefined> {
  const { rows } = await db.query<User & { passwordHash: string }>(queries.findByName, [name])
  return rows[0]
}

/** Names of users, in order; at most 100. */
export async function namesOf(db: Pool, ids: string[]): Promise<string[]> {
  if (ids.length === 0) return []
  const { rows } = await db.query<{ name: string }>(queries.names, [ids])
  return rows.map(({ name }) => name)
}
