import type { FastifyBaseLogger } from 'fastify'
import type { Pool } from 'pg'
import { board } from './migrations/0001-board.ts'
import { uploadsOnce } from './migrations/0002-uploads-once.ts'
import { unreadable } from './migrations/0003-unreadable.ts'

/** In order; a released migration is never changed. */
const MIGRATIONS: readonly { name: string; sql: string }[] = [
  { name: '0001-board', sql: board },
  { name: '0002-uploads-once', sql: uploadsOnce },
  { name: '0003-unreadable', sql: unreadable },
]

/** Any number that only this application uses: the name of its lock in PostgreSQL. */
const LOCK = 7_236_001

/**
 * Brings the tables up to date. However many processes start together, one runs the migrations and the others wait for
 * it: all is one transaction under an advisory lock, so a process that dies in the middle leaves nothing behind.
 */
export async function migrate(db: Pool, log: FastifyBaseLogger): Promise<void> {
  const client = await db.connect()
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK])
    await client.query(
      'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
    )
    const { rows } = await client.query<{ name: string }>('SELECT name FROM migrations')
    const done = new Set(rows.map(({ name }) => name))
    for (const { name, sql } of MIGRATIONS) {
      if (done.has(name)) continue
      await client.query(sql)
      await client.query('INSERT INTO migrations (name) VALUES ($1)', [name])
      log.info({ migration: name }, 'migrated')
    }
    await client.query('COMMIT')
    client.release()
  } catch (error) {
    // The connection is thrown away: its transaction ends with it.
    client.release(true)
    throw error
  }
}
