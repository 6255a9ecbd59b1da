import { type PostgresServer, startPostgres, waitFor } from '@fastify-scale/dev-services'
import sensible from '@fastify/sensible'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import postgres from '../src/db/postgres.ts'
import type {} from '../src/plugins/env.ts'

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

afterAll(() => server?.stop())

/** A database in which the last migration takes so many seconds, as on a table that has grown for years. */
async function slowDatabase(seconds: number): Promise<{ url: string; db: pg.Pool }> {
  const url = await server.createDatabase()
  const db = new pg.Pool({ connectionString: url, max: 1 })
  onTestFinished(() => db.end())
  await db.query(`
    CREATE TABLE migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_sleep(${seconds}); RETURN NEW; END $$;
    CREATE TRIGGER slowly BEFORE INSERT ON migrations FOR EACH ROW
      WHEN (NEW.name LIKE '0003%') EXECUTE FUNCTION slowly()`)
  return { url, db }
}

async function start(url: string): Promise<FastifyInstance> {
  const app = Fastify()
  app.decorate('config', { DATABASE_URL: url, PG_POOL_MAX: 2 } as FastifyInstance['config'])
  await app.register(sensible)
  await app.register(postgres)
  await app.ready()
  return app
}

test('a migration has more time than a request has', async () => {
  const { url, db } = await slowDatabase(7)
  const app = await start(url)
  onTestFinished(() => app.close())
  const done = async (): Promise<boolean> =>
    (await db.query("SELECT FROM migrations WHERE name = '0003-unreadable'")).rowCount === 1
  await waitFor(done, { timeout: 20_000, interval: 100 })
}, 40_000)

test('close does not wait for a migration, of which nothing is left', async () => {
  const { url, db } = await slowDatabase(60)
  const app = await start(url)
  const migrating = async (): Promise<boolean> =>
    (await db.query("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")).rowCount === 1
  await waitFor(migrating, { timeout: 20_000 })
  const since = performance.now()
  await app.close()
  expect(performance.now() - since).toBeLessThan(3_000)
  expect((await db.query("SELECT FROM pg_tables WHERE tablename = 'photos'")).rowCount).toBe(0)
}, 40_000)
