import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { PHOTOS, BOARD, invalidateLists, showPhoto } from '../board.ts'
import {
  type Photo,
  findPhoto,
  likePhoto,
  likedOf,
  listPhotos,
  removePhoto,
  setCaption,
  unlikePhoto,
} from '../db/photos.ts'

export const PhotoSchema = Type.Object({
  id: Type.String(),
  url: Type.String(),
  thumbnailUrl: Type.Union([Type.String(), Type.Null()]),
  caption: Type.String(),
  author: Type.String(),
  authorId: Type.String(),
  likes: Type.Integer(),
  createdAt: Type.String(),
  version: Type.Integer(),
})
const Page = Type.Object({ photos: Type.Array(PhotoSchema), next: Type.Union([Type.String(), Type.Null()]) })
const Id = Type.String({ pattern: '^\\d{1,18}$' })
/** `format: 'uuid'` would take `urn:uuid:` before it, which PostgreSQL does not. */
const UserId = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' })
const Params = Type.Object({ id: Id })
/** PostgreSQL's text holds every character but NUL. */
export const Caption = Type.String({ maxLength: 200, pattern: '^[^\\u0000]*$' })

/** The board: the list, newest first; captions, likes, removal; originals by signed URL. */
const photos: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/photos',
    {
      schema: {
        querystring: Type.Object({
          before: Type.Optional(Id),
          user: Type.Optional(UserId),
          limit: Type.Integer({ minimum: 1, maximum: 100, default: 30 }),
        }),
        response: { 200: Page },
      },
      // The same for everybody: a cookie, which the browser sends anyway, makes no difference.
      config: { cache: { ttl: '1m', tags: [PHOTOS], ignoreCookies: true } },
    },
    async (request) => {
      const { before, limit, user } = request.query
      const found = await listPhotos(app.db, { before, limit, userId: user })
      return { photos: found, next: found.length === limit ? (found.at(-1)?.id ?? null) : null }
    },
  )

  /** After a change: lists are invalid, open pages show it, the one who made it is answered. */
  async function changed(photo: Photo | undefined): Promise<Photo> {
    if (!photo) throw app.httpErrors.notFound('no such photo, or not yours')
    await invalidateLists(app)
    await showPhoto(app, photo)
    return photo
  }

  app.patch(
    '/photos/:id',
    {
      onRequest: app.authenticate,
      schema: { params: Params, body: Type.Object({ caption: Caption }), response: { 200: PhotoSchema } },
    },
    async (request) => changed(await setCaption(app.db, request.params.id, request.user.sub, request.body.caption)),
  )

  app.put(
    '/photos/:id/like',
    { onRequest: app.authenticate, schema: { params: Params, response: { 200: PhotoSchema } } },
    async (request) => changed(await likePhoto(app.db, request.params.id, request.user.sub)),
  )

  app.delete(
    '/photos/:id/like',
    { onRequest: app.authenticate, schema: { params: Params, response: { 200: PhotoSchema } } },
    async (request) => changed(await unlikePhoto(app.db, request.params.id, request.user.sub)),
  )

  app.delete('/photos/:id', { onRequest: app.authenticate, schema: { params: Params } }, async (request, reply) => {
    const { id } = request.params
    const removed = await removePhoto(app.db, id, request.user.sub)
    if (!removed) throw app.httpErrors.notFound('no such photo, or not yours')
    await invalidateLists(app)
    await app.realtime
      .publish(BOARD, 'removed', { id })
      .catch((error: Error) => request.log.warn({ reason: error.message }, 'open pages were not told'))
    // What can't be deleted now is found by the nightly sweep: no row points to it any more.
    for (const url of [removed.url, removed.thumbnailUrl])
      if (url)
        await app.storage
          .delete(url)
          .catch((error: Error) => request.log.warn({ url, reason: error.message }, 'left to the sweep'))
    return reply.code(204).send()
  })

  // The list is the same for all and shared by all; what is one user's own is asked for by itself.
  app.get(
    '/likes',
    {
      onRequest: app.authenticate,
      schema: {
        querystring: Type.Object({ photos: Type.String({ pattern: '^\\d{1,18}(,\\d{1,18}){0,99}$' }) }),
        response: { 200: Type.Object({ liked: Type.Array(Type.String()) }) },
      },
    },
    async (request) => ({ liked: await likedOf(app.db, request.user.sub, request.query.photos.split(',')) }),
  )

  app.get(
    '/photos/:id/original',
    { onRequest: app.authenticate, schema: { params: Params } },
    async (request, reply) => {
      const photo = await findPhoto(app.db, request.params.id)
      if (!photo) throw app.httpErrors.notFound('no such photo')
      // The browser may use the redirect again for as long as the signed URL lives, a minute less.
      return reply
        .header('cache-control', 'private, max-age=240')
        .redirect(await app.storage.signedUrl(photo.url, { ttl: '5m' }))
    },
  )
}

export default photos
