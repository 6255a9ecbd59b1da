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

/** For one migration: an index on a table that has grown for years takes longer than a request may. */
const PATIENCE_MS = 3_600_000
const patiently = (text: string, values?: string[]) => ({ text, values, query_timeout: PATIENCE_MS })

/**
 * Brings the tables up to date. However many processes start together, one runs the migrations and the others wait for
 * it: all is one transaction under an advisory lock, so a process that dies in the middle leaves nothing behind. `signal`
 * breaks it off.
 */
export async function migrate(db: Pool, log: FastifyBaseLogger, signal?: AbortSignal): Promise<void> {
  const client = await db.connect()
  const breakOff = (): void => void client.end()
  signal?.addEventListener('abort', breakOff, { once: true })
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK])
    await client.query(
      'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
    )
    const { rows } = await client.query<{ name: string }>('SELECT name FROM migrations')
    const done = new Set(rows.map(({ name }) => name))
    await client.query(`SET LOCAL statement_timeout = ${PATIENCE_MS}`)
    for (const { name, sql } of MIGRATIONS) {
      if (done.has(name)) continue
      await client.query(patiently(sql))
      await client.query(patiently('INSERT INTO migrations (name) VALUES ($1)', [name]))
      log.info({ migration: name }, 'migrated')
    }
    await client.query('COMMIT')
    client.release()
  } catch (error) {
    // The connection is thrown away: its transaction ends with it.
    client.release(true)
    throw error
  } finally {
    signal?.removeEventListener('abort', breakOff)
  }
}
