import type { FastifyInstance } from 'fastify'
import { BOARD } from './board.ts'
import { namesOf } from './db/users.ts'

/**
 * Tells all open pages who else is there: one worker of the whole cluster asks Redis each second, and sends the names
 * when they have changed.
 */
export function announcePresence(app: FastifyInstance): void {
  app.cluster.singleton('presence', async ({ signal }) => {
    let last = ''
    const timer = setInterval(async () => {
      try {
        const members = await app.realtime.presence(BOARD)
        const ids = members.map(({ id }) => id).toSorted()
        const text = ids.join()
        if (text === last || signal.aborted) return
        await app.realtime.publish(BOARD, 'present', await namesOf(app.db, ids))
        last = text
      } catch (error) {
        app.log.debug({ reason: (error as Error).message }, 'presence was not announced')
      }
    }, 1_000)
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  })
}
