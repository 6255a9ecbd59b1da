import diagnostics from 'node:diagnostics_channel'
// Not the global of that name: it is a getter.
import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { HttpRecorder, RouteKey } from './http.ts'

const NOT_FOUND: RouteKey = {}

interface MeasuredResponse {
  statusCode: number
  req: { method: string }
  [key: symbol]: unknown
}

/**
 * Records each response when it has been handed to the system. Fastify's onResponse hook would cost a tenth of a small
 * request, for the listeners that it adds to each response; Node tells the end of every response on a diagnostics
 * channel for next to nothing. Over HTTP/2, where it does not, each response has a listener.
 */
export function recordResponses(app: FastifyInstance, recorder: HttpRecorder): () => void {
  const { http2 } = app.initialConfig
  // The app's own, whichever of its servers answers: on localhost it may have one for each address.
  const ROUTE = Symbol('fastify-scale.route')
  const START = Symbol('fastify-scale.start')

  function finished(this: MeasuredResponse): void {
    const route = this[ROUTE] as RouteKey | undefined
    if (route) recorder.record(route, this.req.method, this.statusCode, performance.now() - (this[START] as number))
  }

  app.addHook(
    'onRequest',
    function scaleMetricsOnRequest(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
      const response = reply.raw as unknown as MeasuredResponse
      response[ROUTE] = routeOf(request)
      response[START] = performance.now()
      if (http2) reply.raw.once('finish', finished)
      done()
    },
  )
  if (http2) return () => undefined

  const onFinish = (message: unknown): void => {
    finished.call((message as { response: MeasuredResponse }).response)
  }
  diagnostics.subscribe('http.server.response.finish', onFinish)
  return () => void diagnostics.unsubscribe('http.server.response.finish', onFinish)
}

let contextKey: symbol | undefined

/**
 * The route's `config`, one object for each route. The public getter makes an object of twelve fields for each call;
 * where Fastify's own symbol is not as it was, the getter serves.
 */
function routeOf(request: FastifyRequest): RouteKey {
  contextKey ??= Object.getOwnPropertySymbols(request).find((symbol) => symbol.description === 'fastify.context')
  const context = contextKey && (request as unknown as Record<symbol, { config?: RouteKey } | undefined>)[contextKey]
  return (context ? context.config : (request.routeOptions.config as RouteKey)) ?? NOT_FOUND
}
