import fastifyCompress from '@fastify/compress'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload, RouteOptions } from 'fastify'
import { RequestsTakenError } from './errors.ts'

/**
 * Turns on decompression of request bodies, by @fastify/compress. Added to it: names of encodings in any case and
 * `x-gzip`, and an end to the decompressing of a body that was refused (Fastify stops listening at `bodyLimit`, which
 * alone would let a zip bomb go on unpacking).
 *
 * @throws SCALE_COMPRESS_REQUESTS_TAKEN where the service has registered @fastify/compress itself
 */
export async function decompressRequests(fastify: FastifyInstance): Promise<void> {
  if (fastify.hasReplyDecorator('compress'))
    throw new RequestsTakenError(
      "@fastify/compress is registered already and decompresses requests: leave out the option 'requests' of @fastify-scale/compress",
    )
  fastify.addHook('preParsing', normaliseEncoding)
  await fastify.register(fastifyCompress, { globalCompression: false, globalDecompression: true })
  fastify.addHook('onRoute', function scaleCompressAfterDecompression(route: RouteOptions) {
    // @fastify/compress has put its own hook first; ours goes right behind it.
    const [first, ...others] = [route.preParsing ?? []].flat()
    if (first) route.preParsing = [first, endWithAnswer, ...others]
  })
}

type Done = (error: Error | null, payload?: RequestPayload) => void

function normaliseEncoding(request: FastifyRequest, _reply: FastifyReply, payload: RequestPayload, done: Done): void {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined) {
    const name = encoding.trim().toLowerCase()
    request.headers['content-encoding'] = name === 'x-gzip' ? 'gzip' : name
  }
  done(null, payload)
}

function endWithAnswer(request: FastifyRequest, reply: FastifyReply, payload: RequestPayload, done: Done): void {
  if (payload !== request.raw) {
    const decompressor = payload as RequestPayload & { destroy?: () => void }
    reply.raw.once('close', () => decompressor.destroy?.())
  }
  done(null, payload)
}
