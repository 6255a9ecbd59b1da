import type { FastifyInstance } from 'fastify'
import type { Photo } from './db/photos.ts'

/** The room that every open page is in. */
export const BOARD = 'board:main'
/** The tag of every cached answer that shows photos. */
export const PHOTOS = 'photos'

/**
 * After a change is in the database: no worker shows the old list from here on. Redis away for longer than a moment is an
 * error to the one who changed something (503): it is stored, but lists may show it only when their ttl has passed.
 */
export async function invalidateLists(app: FastifyInstance): Promise<void> {
  await app.cache.invalidateTags([PHOTOS])
}

/**
 * Shows a photo on every open page. False where that was not acknowledged (Redis away): those pages show it when they load
 * the list again.
 */
export async function showPhoto(app: FastifyInstance, photo: Photo): Promise<boolean> {
  try {
    await app.realtime.publish(BOARD, 'photo', photo)
    return true
  } catch (error) {
    app.log.warn({ photo: photo.id, reason: (error as Error).message }, 'open pages were not told of a photo')
    return false
  }
}
