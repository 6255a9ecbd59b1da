import { Readable } from 'node:stream'
import { offerCapability } from '@fastify-scale/kit'
import type { FastifyPluginAsync, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { negotiate } from './negotiate.ts'
import { type Done, type OnSend, createOnSend, kEncodedBy, kTaken, takeOver } from './on-send.ts'
import {
  type CompressOptions,
  type ResolvedOptions,
  type RouteCompressOptions,
  resolveOptions,
  resolveRoute,
} from './options.ts'
import { decompressRequests } from './requests.ts'
import { encodeVariants } from './variants.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Of @fastify-scale/compress: `false` sends this route's answers as they are (for pages that mix secrets with what
     * the client sent, see BREACH), an object sets the route's own options.
     */
    compress?: false | RouteCompressOptions
  }
}

/** In the `config` of routes that have a hook of ours. */
const kHooked = Symbol('fastify-scale.compress.hooked')
/** Our hooks, of every registration: the nearest to the route wins, and none runs twice. */
const hooks = new WeakSet<object>()

const plugin: FastifyPluginAsync<CompressOptions> = async (fastify, userOptions) => {
  const options = resolveOptions(userOptions)
  const { route: defaults } = options
  if (options.requests) await decompressRequests(fastify)

  fastify.addHook('onRoute', function scaleCompressRoute(route: RouteOptions) {
    const resolved = resolveRoute(route.config?.compress, defaults)
    const others = [route.onSend ?? []].flat().filter((hook) => !hooks.has(hook))
    // Last, so that every other hook sees the body as it is.
    route.onSend = resolved ? [...others, remember(createOnSend(resolved, options)) as never] : others
    route.config = { ...route.config, [kHooked]: true } as RouteOptions['config']
  })
  fastify.addHook('onSend', createFallback(options) as never)

  if (!fastify.hasReplyDecorator(kTaken)) fastify.decorateReply(kTaken, false).decorateReply(kEncodedBy, null)
  offerCapability(fastify, 'compressor', {
    negotiate,
    isCompressible: defaults.compressible,
    encodeVariants: async (body, contentType) =>
      body.length >= defaults.threshold && defaults.compressible(contentType)
        ? encodeVariants(body, defaults.encodings, options.variantLevels)
        : {},
    takeOver,
  })
}

/** Compresses what a Fastify service sends, and says so to caches. See `CompressOptions`. */
export const scaleCompress: FastifyPluginAsync<CompressOptions> = fp(plugin, {
  name: '@fastify-scale/compress',
  fastify: '5.x',
})

function remember(hook: OnSend): OnSend {
  hooks.add(hook)
  return hook
}

/** For what `onRoute` does not see: the 404 handler, and routes that were added before the plugin was loaded. */
function createFallback(options: ResolvedOptions): OnSend {
  const made = new WeakMap<object, OnSend | null>()
  return function scaleCompressUnseen(request, reply, payload, done) {
    const config = request.routeOptions.config as { compress?: unknown; [kHooked]?: true }
    if (config[kHooked]) return done(null, payload)
    let hook = made.get(config)
    if (hook === undefined) {
      try {
        const route = resolveRoute(config.compress, options.route)
        hook = route && createOnSend(route, options)
      } catch (error) {
        return done(error as Error)
      }
      made.set(config, hook)
    }
    if (!hook) return done(null, payload)
    hook(request, reply, payload, request.method === 'HEAD' && payload !== null ? forHead(done) : done)
  }
}

/** Fastify's own hook of HEAD routes, which comes after the fallback, takes a stream for 'no length', but not `null`. */
function forHead(done: Done): Done {
  return (error, payload) => done(error, payload === null ? Readable.from([]) : payload)
}
