import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

type RequestHook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/**
 * @fastify/multipart, whose hooks run for forms alone. Its own run for every request of the app, to remove temporary files
 * that only a form has: two promises and a listener for each, and with an onResponse hook Fastify adds two more.
 */
const registerMultipart: FastifyPluginAsync = async (fastify) => {
  const begin: RequestHook[] = []
  const end: RequestHook[] = []
  await new Promise<void>((resolve, reject) => {
    multipart(collecting(fastify, { onRequest: begin, onResponse: end }), {}, (error) =>
      error ? reject(error) : resolve(),
    )
  })

  async function beginForm(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): Promise<void> {
    try {
      for (const hook of begin) await hook.call(fastify, request, reply)
    } catch (error) {
      return done(error as Error)
    }
    reply.raw.once('finish', async function scaleStorageFormEnd() {
      try {
        for (const hook of end) await hook.call(fastify, request, reply)
      } catch (error) {
        request.log.warn({ err: error }, 'storage: a form was not cleaned up')
      }
    })
    done()
  }

  // The last hook before the body is parsed.
  fastify.addHook('preParsing', function scaleStorageForm(request, reply, _payload, done) {
    if (!isForm(request.headers['content-type'])) return done()
    void beginForm(request, reply, done)
  })
}

/** The instance, but hooks of these kinds are kept in the lists. */
function collecting(fastify: FastifyInstance, lists: Record<string, RequestHook[]>): FastifyInstance {
  const facade: FastifyInstance = new Proxy(fastify, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'addHook') return value.bind(target) as unknown
      return (kind: string, hook: RequestHook) => {
        if (lists[kind]) lists[kind].push(hook)
        else target.addHook(kind as 'onRequest', hook)
        return facade
      }
    },
  })
  return facade
}

function isForm(contentType: string | undefined): boolean {
  return contentType !== undefined && /^\s*multipart\/form-data/i.test(contentType)
}

export default fp(registerMultipart, { name: '@fastify/multipart', fastify: '5.x' }) as FastifyPluginAsync
