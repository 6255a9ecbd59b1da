import type { FastifyInstance } from 'fastify'

/**
 * Lets the routes of one context take a file as the whole body of a request, whatever its Content-Type: `upload()` then streams
 * it to S3 as one PutObject, at little more than half of the CPU of a multipart form. Call it in a context of its own, since no route
 * there gets a parsed body any more.
 *
 * @example
 * app.register(async (scope) => {
 *   acceptRawBodies(scope)
 *   scope.put('/photos', async (request) => scope.storage.upload(request))
 * })
 */
export function acceptRawBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', function rawBody(_request, payload, done) {
    done(null, payload)
  })
}
