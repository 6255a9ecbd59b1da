import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { addPhoto, listPhotos, type Photo } from '../db/photos.ts'

export const BOARD = 'board:main'

const PhotoSchema = Type.Object({
  id: Type.String(),
  url: Type.String(),
  caption: Type.String(),
  author: Type.String(),
  createdAt: Type.String(),
})
const Page = Type.Object({ photos: Type.Array(PhotoSchema), next: Type.Union([Type.String(), Type.Null()]) })

/** The photo board: upload, and the list, newest first. */
const photos: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/photos',
    {
      schema: {
        querystring: Type.Object({
          before: Type.Optional(Type.String({ pattern: '^\\d{1,18}$' })),
          limit: Type.Integer({ minimum: 1, maximum: 100, default: 30 }),
        }),
        response: { 200: Page },
      },
      config: { cache: { ttl: '1m', tags: ['photos'] } },
    },
    async (request) => {
      const { before, limit } = request.query
      const found = await listPhotos(app.db, { before, limit })
      return { photos: found, next: found.length === limit ? (found.at(-1)?.id ?? null) : null }
    },
  )

  app.post(
    '/photos',
    { onRequest: app.authenticate, schema: { response: { 201: PhotoSchema } } },
    async (request, reply) => {
      const { sub } = request.user
      let photo: Photo | undefined
      await app.storage.upload(request, {
        prefix: 'photos',
        allowedTypes: ['image/*'],
        visibility: 'public',
        // If this fails, the object is deleted: there is never a photo without a row or a row without a photo.
        persist: async ({ url }, fields) => {
          photo = await addPhoto(app.db, { userId: sub, url, caption: fields.get('caption') ?? '' })
        },
      })
      await app.cache.invalidateTags(['photos'])
      await app.realtime.publish(BOARD, 'photo', photo as Photo)
      return reply.code(201).send(photo as Photo)
    },
  )
}

export default photos
