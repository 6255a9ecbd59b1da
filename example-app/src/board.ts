import type { FastifyInstance } from 'fastify'
import type { Photo } from './db/photos.ts'

/** The room that every open page is in. */
export const BOARD = 'board:main'
/** The tag of every cached answer that shows photos. */
export const PHOTOS = 'photos'

const PATIENCE_MS = 3_000

/**
 * After a change is in the database: no worker shows the old list from here on. Redis away for longer than a moment is an
 * error to the one who changed something (503): it is stored, but lists may show it only when their ttl has passed.
 */
export async function invalidateLists(app: FastifyInstance): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      await app.cache.invalidateTags([PHOTOS])
      return
    } catch (error) {
      if (performance.now() > until) throw error
    }
  }
}

/** Shows a photo on every open page. A page that misses it loads the list again when it is back. */
export async function showPhoto(app: FastifyInstance, photo: Photo): Promise<void> {
  await app.realtime
    .publish(BOARD, 'photo', photo)
    .catch((error: Error) =>
      app.log.warn({ photo: photo.id, reason: error.message }, 'open pages were not told of a photo'),
    )
}
