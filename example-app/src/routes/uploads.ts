import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { invalidateLists, showPhoto } from '../board.ts'
import { type Photo, addPhoto, findPhotoOfUpload } from '../db/photos.ts'
import { IMAGE_TYPES, MAX_BYTES } from '../pictures.ts'
import { Caption, PhotoSchema } from './photos.ts'

/** Adding a photo: through the app as a form, or straight from the browser to S3. Only its URL stays here. */
const uploads: FastifyPluginAsyncTypebox = async (app) => {
  /** Answers when no list is stale any more; `x-live` tells whether open pages were told at once. */
  async function added(photo: Photo, reply: FastifyReply): Promise<Photo> {
    await invalidateLists(app)
    reply.header('x-live', (await showPhoto(app, photo)) ? 'told' : 'missed')
    // The photo is there, and shown by its original; a thumbnail that can't be ordered now is made in the night.
    await app.thumbnails
      // By its URL: another database on the same Redis counts from 1 again.
      .add({ id: photo.id }, { idempotencyKey: photo.url })
      .catch((error: Error) => app.log.warn({ photo: photo.id, reason: error.message }, 'no thumbnail was ordered'))
    return photo
  }

  /** Saves the URL: if this fails, the object is deleted, so that there is never one without the other. */
  async function save(
    request: FastifyRequest,
    photo: { url: string; caption: string; uploadKey?: string },
  ): Promise<Photo> {
    const caption = photo.caption.slice(0, 200)
    if (!request.validateInput(caption, Caption)) throw app.httpErrors.badRequest('the caption is not text')
    return addPhoto(app.db, { ...photo, userId: request.user.sub, caption })
  }

  app.post(
    '/photos',
    { onRequest: app.authenticate, schema: { response: { 201: PhotoSchema } } },
    async (request, reply) => {
      const saved: Photo[] = []
      await app.storage.upload(request, {
        allowedTypes: IMAGE_TYPES,
        visibility: 'private',
        prefix: 'photos',
        persist: async ({ url }, fields) =>
          saved.push(await save(request, { url, caption: fields.get('caption') ?? '' })),
      })
      reply.code(201)
      return added(saved[0] as Photo, reply)
    },
  )

  app.post(
    '/uploads',
    {
      onRequest: app.authenticate,
      schema: {
        body: Type.Object({ contentType: Type.String({ maxLength: 100 }), size: Type.Integer({ minimum: 1 }) }),
      },
    },
    async (request) => {
      const { contentType, size } = request.body
      if (!IMAGE_TYPES.includes(contentType)) throw app.httpErrors.unsupportedMediaType('only pictures can be added')
      if (size > MAX_BYTES) throw app.httpErrors.payloadTooLarge(`a picture may have ${MAX_BYTES} bytes`)
      const upload = await app.storage.createDirectUpload({
        contentType,
        maxBytes: size,
        prefix: 'photos',
        visibility: 'private',
      })
      // Which user a key was given to: only they can complete it, on whichever worker.
      await app.cache.set(`upload:${upload.key}`, request.user.sub, { ttl: '1h' })
      return upload
    },
  )

  app.post(
    '/uploads/complete',
    {
      onRequest: app.authenticate,
      schema: {
        body: Type.Object({ key: Type.String({ maxLength: 300 }), caption: Type.Optional(Caption) }),
        response: { 201: PhotoSchema },
      },
    },
    async (request, reply) => {
      const { key, caption = '' } = request.body
      if ((await app.cache.get(`upload:${key}`)) !== request.user.sub)
        throw app.httpErrors.notFound('no such upload of yours')
      reply.code(201)
      return added(await completeOnce(request, key, caption), reply)
    },
  )

  /** One upload is one photo, however often it is completed: who comes second, at once or later, gets the same. */
  async function completeOnce(request: FastifyRequest, uploadKey: string, caption: string): Promise<Photo> {
    const saved: Photo[] = []
    try {
      await app.storage.completeDirectUpload(uploadKey, {
        allowedTypes: IMAGE_TYPES,
        maxBytes: MAX_BYTES,
        persist: async ({ url }) => saved.push(await save(request, { url, caption, uploadKey })),
      })
    } catch (error) {
      // The row of one upload is unique; or the other one was done before, and took the object away.
      const first = await findPhotoOfUpload(app.db, uploadKey)
      if (!first) throw error
      return first
    }
    return saved[0] as Photo
  }
}

export default uploads
