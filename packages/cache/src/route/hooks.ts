import { randomBytes } from 'node:crypto'
import { findCapability } from '@fastify-scale/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, preHandlerHookHandler } from 'fastify'
import type { Engine } from '../engine.ts'
import type { KeySpace } from '../key.ts'
import type { ResolvedOptions } from '../options.ts'
import { RouteLookup, type RouteCacheParts } from './cache.ts'
import { RouteCapture } from './capture.ts'
import { invalidatedBy, isSafe } from './invalidate.ts'
import { type ResolvedRoute, type RouteCacheOptions, resolveRoute } from './options.ts'
import { NAME, setStatus } from './reply.ts'
import type { RouteSession, RouteTarget } from './session.ts'
import { RouteStore } from './store.ts'
import { openSession, targetOf } from './target.ts'

/** Marks a request that was made to refresh what is stale; its values are known to this process only. */
const REFRESH = 'x-fastify-scale-cache-refresh'

/** Stands for the session of a request that was answered at once. */
const ANSWERED = 'answered'
/** Where a request carries its session; a symbol of its own for each registration. */
declare const SESSION: unique symbol
type SessionRequest = FastifyRequest & { [SESSION]?: RouteSession | typeof ANSWERED | null }
type Done = (error?: Error) => void

/**
 * Puts the look-up at the end of each cached route's preHandlers: after authentication, whether that stands in a hook of
 * the plugin, of the route, or of a plugin that adds it to routes and is registered later.
 */
export function addRouteCache(
  fastify: FastifyInstance,
  engine: Engine,
  space: KeySpace,
  options: ResolvedOptions,
  settle: () => Promise<void>,
): void {
  const kSession: typeof SESSION = Symbol('fastify-scale.cache.session') as typeof SESSION
  fastify.decorateRequest(kSession, null)
  const secret = randomBytes(16).toString('base64url')
  let refreshes = 0
  /** Requests of our own, by the header that they carry: what each refreshes, and whether that came over TLS. */
  const refreshing = new Map<string, { target: RouteTarget; encrypted: boolean }>()
  const keys = new Set<string>()
  const parts: RouteCacheParts = {
    engine,
    store: new RouteStore(engine, { value: space.valuePrefix, lease: space.leasePrefix }, options.version),
    maxSize: options.maxValueSize,
    jitter: options.jitter,
    maxHandlers: options.maxLoaders,
    patience: options.loaderTimeout,
    random: Math.random,
    authenticator: undefined,
    compressor: undefined,
    isRefresh: ({ headers }) => refreshing.has(headers[REFRESH] as string),
    refresh(request, session) {
      const key = session.found?.key.value ?? ''
      if (keys.has(key)) return
      const id = `${secret}${++refreshes}`
      keys.add(key)
      refreshing.set(id, { target: session, encrypted: request.protocol === 'https' })
      fastify
        .inject({
          method: 'GET',
          url: request.url,
          headers: { ...headersOf(request), [REFRESH]: id },
          // Who is trusted to say from where and by which scheme it came.
          remoteAddress: request.raw.socket.remoteAddress,
        })
        .catch((error: unknown) => request.log.warn({ err: error }, 'cache: a stale response could not be refreshed'))
        .finally(() => {
          keys.delete(key)
          refreshing.delete(id)
        })
    },
  }
  const lookup = new RouteLookup(parts)
  const capture = new RouteCapture(parts, lookup, (error) =>
    fastify.log.debug({ err: error }, 'cache: a response was not stored'),
  )
  let cachedRoutes = 0

  fastify.addHook('onReady', async function scaleCacheCapabilities() {
    parts.authenticator = findCapability(fastify, 'authenticator')
    parts.compressor = findCapability(fastify, 'compressor')
  })

  fastify.addHook('onRoute', function scaleCacheRoute(route) {
    const config = (route.config as { cache?: RouteCacheOptions | false } | undefined)?.cache
    const methods = (Array.isArray(route.method) ? route.method : [route.method]).map((method) => method.toUpperCase())
    if (config && methods.some((method) => method === 'GET' || method === 'HEAD')) {
      cachedRoutes++
      const resolved = resolveRoute(config, route.url, (route.config as { compress?: unknown }).compress)
      keepLast(route, lookupHook(resolved))
      route.onSend = append(route.onSend, captureHook)
    }
    if (config !== false && methods.some((method) => !isSafe(method)))
      route.onSend = append(route.onSend, invalidateHook)
  })

  function lookupHook(route: ResolvedRoute): preHandlerHookHandler {
    return function scaleCacheLookup(request: SessionRequest, reply, done) {
      // A HEAD route made from a GET route brings its hooks along.
      if (request[kSession] || (request.method !== 'GET' && request.method !== 'HEAD')) return done()
      const { memory, turn } = engine.parts
      if (memory?.trusted !== true || turn.isRecent(performance.now())) return look(route, request, reply, done)
      // Memory is read after a look at the sockets.
      void turn.wait().then(() => look(route, request, reply, done))
    }
  }

  function look(route: ResolvedRoute, request: SessionRequest, reply: FastifyReply, done: Done): void {
    let session: RouteSession
    try {
      const mark = request.headers[REFRESH]
      const refresh = mark === undefined ? undefined : refreshing.get(mark as string)
      // An injected request has no TLS of its own.
      if (refresh) Object.assign(request.raw.socket, { encrypted: refresh.encrypted })
      const target = refresh?.target ?? targetOf(request, route)
      request[kSession] = ANSWERED
      if (lookup.quick(request, reply, route, target)) return
      const compressor = route.ownCompression ? undefined : parts.compressor
      request[kSession] = session = openSession(request, route, target, compressor)
      if (lookup.fromMemory(request, reply, session)) return
    } catch (error) {
      return done(error as Error)
    }
    callBack(lookup.run(request, reply, session), (error, answered) => {
      if (error) return done(error)
      if (answered) return
      // The client goes away, or the handler takes the reply over: nothing will come.
      const over = (): void => void (session.answered || capture.end(session))
      reply.raw.once('finish', over)
      reply.raw.once('close', over)
      done()
    })
  }

  function captureHook(
    request: SessionRequest,
    reply: FastifyReply,
    payload: unknown,
    done: (error: Error | null, payload?: unknown) => void,
  ): void {
    const session = request[kSession]
    if (session === ANSWERED) return done(null, payload)
    if (!session) {
      // Answered before the look-up, or of a method that is not looked up.
      setStatus(reply, `${NAME}; fwd=${request.method === 'GET' || request.method === 'HEAD' ? 'bypass' : 'method'}`)
      return done(null, payload)
    }
    if (session.answered) return done(null, payload)
    session.answered = true
    callBack(capture.run(request, reply, session, payload), done)
  }

  async function invalidateHook(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
    if (cachedRoutes === 0) return payload
    const tags = invalidatedBy(request, reply)
    if (tags.length === 0) return payload
    try {
      await engine.parts.writes.tags.invalidate(tags)
      await settle()
    } catch (error) {
      request.log.warn({ err: error }, 'cache: stored responses could not be invalidated')
    }
    return payload
  }
}

/**
 * Makes a hook the last of a route's preHandlers, whatever is added to them until the route is built. A HEAD route is made of
 * a copy of its GET route, hooks and all: the copy's look-up gives way to its own.
 */
function keepLast(route: { preHandler?: unknown }, hook: preHandlerHookHandler): void {
  let hooks: unknown[]
  const set = (value: unknown): void => {
    hooks = value === undefined ? [] : [value].flat().filter((one) => (one as { name?: string }).name !== hook.name)
  }
  set(route.preHandler)
  Object.defineProperty(route, 'preHandler', {
    enumerable: true,
    configurable: true,
    get() {
      // Somebody may have added to the list itself.
      const at = hooks.indexOf(hook)
      if (at !== -1) hooks.splice(at, 1)
      hooks.push(hook)
      return hooks
    },
    set,
  })
}

/** The request's headers as HTTP/1.1 has them. */
function headersOf(request: FastifyRequest): Record<string, string | string[] | undefined> {
  const fields = Object.entries(request.headers).filter(([name]) => !name.startsWith(':'))
  return { ...Object.fromEntries(fields), host: request.host }
}

function append<T>(hooks: T | T[] | undefined, hook: unknown): T[] {
  const list = hooks === undefined ? [] : Array.isArray(hooks) ? hooks : [hooks]
  const last = (hook as { name?: string }).name
  // A HEAD route is made of a copy of its GET route, hooks and all.
  return list.some((one) => (one as { name?: string }).name === last) ? list : [...list, hook as T]
}

/** Hooks call back: most requests end in them without a promise. */
function callBack<T>(work: Promise<T>, settled: (error: Error | null, value?: T) => void): void {
  work.then(
    (value) => settled(null, value),
    (error: unknown) => settled(error as Error),
  )
}
