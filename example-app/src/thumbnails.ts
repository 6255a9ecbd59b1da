import type { JobHandle } from '@fastify-scale/jobs'
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { invalidateLists, showPhoto } from './board.ts'
import {
  type Photo,
  findPhoto,
  photosWithoutThumbnail,
  referencedUrls,
  setThumbnail,
  setUnreadable,
} from './db/photos.ts'
import { makeThumbnail } from './make-thumbnail.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Has a thumbnail made, by whichever process is free. */
    thumbnails: JobHandle<{ id: string }>
  }
}

const WEBP = 'image/webp'

/** Jobs: a thumbnail of each photo; every night, what no row points to is deleted and what was missed is made. */
const thumbnails: FastifyPluginAsyncTypebox = async (app) => {
  const handle = app.jobs.define(
    'images.thumbnail',
    { schema: Type.Object({ id: Type.String() }), attempts: 5, timeout: '2m' },
    async ({ id }: { id: string }, { signal, log }) => {
      const photo = await findPhoto(app.db, id)
      // Jobs run at least once: this one may have been done, or its photo removed.
      if (!photo || photo.thumbnailUrl) return
      const response = await fetch(await app.storage.signedUrl(photo.url), { signal })
      if (!response.ok) throw new Error(`the original of photo ${id} answered ${response.status}`)
      const made = await makeThumbnail(response)
      if ('unreadable' in made) {
        log.warn({ photo: id, reason: made.unreadable }, 'there can be no thumbnail of this photo')
        await setUnreadable(app.db, id, made.unreadable)
        return
      }
      const changed = await store(app, id, made.thumbnail, signal)
      if (!changed) return
      await invalidateLists(app)
      await showPhoto(app, changed)
    },
  )
  app.decorate('thumbnails', handle)

  app.jobs.cron('nightly', app.config.SWEEP_AT, { timeout: '1h' }, async (_tick, { log }) => {
    const { checked, deleted } = await app.storage.sweep({
      findReferenced: (urls) => referencedUrls(app.db, urls),
      olderThan: app.config.SWEEP_OLDER_THAN,
      dryRun: false,
    })
    let missed = 0
    for await (const ids of photosWithoutThumbnail(app.db)) {
      for (const id of ids) await handle.add({ id })
      missed += ids.length
    }
    log.info({ checked, deleted, missed }, 'swept')
  })
}

/** Puts the thumbnail where all can read it, and its URL into the row; neither is ever there without the other. */
async function store(app: FastifyInstance, id: string, bytes: Buffer, signal: AbortSignal): Promise<Photo | undefined> {
  let changed: Photo | undefined
  const { url } = await app.storage.put(bytes, {
    prefix: 'thumbnails',
    visibility: 'public',
    contentType: WEBP,
    signal,
    persist: async ({ url }) => {
      changed = await setThumbnail(app.db, id, url)
    },
  })
  // The photo was removed meanwhile.
  if (!changed) await app.storage.delete(url)
  return changed
}

export default fp(thumbnails)
