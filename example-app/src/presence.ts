import type { FastifyInstance } from 'fastify'
import { BOARD } from './board.ts'
import { namesOf } from './db/users.ts'

/**
 * Tells all open pages who else is there: one worker of the whole cluster asks Redis each second, and sends the names
 * when they have changed, or a page has come that was not there to hear them.
 */
export function announcePresence(app: FastifyInstance): void {
  let opened = false
  app.io.on('pageOpened', () => (opened = true))
  app.io.sockets.adapter.on('join-room', (room: string) => {
    if (room !== BOARD) return
    opened = true
    app.io.serverSideEmit('pageOpened')
  })
  app.cluster.singleton('presence', async ({ signal }) => {
    let last = ''
    const timer = setInterval(async () => {
      const isNew = opened
      opened = false
      try {
        const members = await app.realtime.presence(BOARD)
        const ids = members.map(({ id }) => id).toSorted()
        const text = ids.join()
        if ((text === last && !isNew) || signal.aborted) return
        await app.realtime.publish(BOARD, 'present', await namesOf(app.db, ids))
        last = text
      } catch (error) {
        opened ||= isNew
        app.log.debug({ reason: (error as Error).message }, 'presence was not announced')
      }
    }, 1_000)
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  })
}
