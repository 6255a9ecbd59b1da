import { addReadinessCheck, backoff, pause } from '@fastify-scale/kit'
import fp from 'fastify-plugin'
import { Pool } from 'pg'
import { migrate } from './migrate.ts'
import { isUnavailable } from './unavailable.ts'

declare module 'fastify' {
  interface FastifyInstance {
    db: Pool
  }
}

export default fp(async (app) => {
  const db = new Pool({
    connectionString: app.config.DATABASE_URL,
    max: app.config.PG_POOL_MAX,
    connectionTimeoutMillis: 2_000,
    statement_timeout: 5_000,
    // A server that is frozen does not count the time.
    query_timeout: 6_000,
  })
  db.on('error', (error) => app.log.warn({ reason: error.message }, 'an idle PostgreSQL connection was lost'))
  app.decorate('db', db)
  // Not this service's fault, and over in a moment: 503, and when to ask again.
  app.setErrorHandler(function answerUnavailable(error, request, reply) {
    if (!isUnavailable(error)) return reply.send(error)
    request.log.warn({ reason: (error as Error).message }, 'PostgreSQL did not answer')
    reply.header('retry-after', '1')
    return reply.send(app.httpErrors.serviceUnavailable('the database did not answer in time'))
  })

  // A database that is away does not stop the process from starting: it is not ready until the tables are there.
  const closing = new AbortController()
  let missing: string | undefined = 'migrations have not run yet'
  const migrating = (async () => {
    for (let attempt = 1; missing && !closing.signal.aborted; attempt++) {
      try {
        await migrate(db, app.log, closing.signal)
        missing = undefined
      } catch (error) {
        missing = `PostgreSQL (DATABASE_URL): ${(error as Error).message}`
        // Once as a warning; the readiness check tells the reason as long as it lasts.
        app.log[attempt === 1 ? 'warn' : 'debug']({ reason: missing }, 'migrations wait for the database')
        await pause(backoff(attempt, 100, 1_000), closing.signal)
      }
    }
  })()
  addReadinessCheck(app, {
    name: 'postgres',
    timeout: 2_500,
    check: async () => {
      if (missing) throw new Error(missing)
      await db.query('SELECT 1')
    },
  })
  app.addHook('onClose', async () => {
    closing.abort()
    await migrating
    await db.end()
  })
})
