import type { Pool } from 'pg'

export interface User {
  id: string
  name: string
  roles: ('user' | 'admin')[]
}

/** Adds a user; `undefined` where the name is taken, in whatever case. */
export async function addUser(db: Pool, name: string, passwordHash: string): Promise<User | undefined> {
  const { rows } = await db.query<User>(
    'INSERT INTO users (name, password_hash) VALUES ($1, $2) ON CONFLICT (lower(name)) DO NOTHING RETURNING id, name, roles',
    [name, passwordHash],
  )
  return rows[0]
}

export async function findUserByName(db: Pool, name: string): Promise<(User & { passwordHash: string }) | undefined> {
  const { rows } = await db.query<User & { passwordHash: string }>(
    'SELECT id, name, roles, password_hash AS "passwordHash" FROM users WHERE lower(name) = lower($1)',
    [name],
  )
  return rows[0]
}
