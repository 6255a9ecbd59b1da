import { type Authenticator, type Compressor } from '@fastify-scale/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Engine } from '../engine.ts'
import { isUnable } from '../redis-port.ts'
import { ageOf, answerFrom, freshFor } from './answer.ts'
import { AwayFlights, isSelected } from './away.ts'
import { validationHeaders } from './conditional.ts'
import { RouteFlights } from './flights.ts'
import { standingHeaders } from './hook-headers.ts'
import { isAuthenticated, isKnownUser } from './identity.ts'
import type { ResolvedRoute } from './options.ts'
import { isPlain, preparedFor } from './prepared.ts'
import { NAME, setHeaders, setStatus } from './reply.ts'
import { usable } from './request.ts'
import { variantKey } from './selection.ts'
import type { RouteSession, RouteTarget } from './session.ts'
import type { Found, RouteStore } from './store.ts'
import { type StoredResponse, sendable } from './stored.ts'

export interface RouteCacheParts {
  engine: Engine
  store: RouteStore
  /** Bytes of the largest body stored. */
  maxSize: number
  jitter: number
  /** Handlers at once in this process while Redis is away. */
  maxHandlers: number
  /** How long a request may wait for another's answer, in ms. */
  patience: number
  random: () => number
  /** Found in onReady. */
  authenticator: Authenticator | undefined
  compressor: Compressor | undefined
  /** Runs the route again, apart from any client, to refresh what is stale. */
  refresh: (request: FastifyRequest, session: RouteSession) => void
  /** True for a request that `refresh` made. */
  isRefresh: (request: FastifyRequest) => boolean
}

/** How long a waiter sleeps before it looks again, in ms. */
const POLL_MS = 25

/** The look-up: before the handler, after everything else. Decides whether the handler is asked, and for whom. */
export class RouteLookup {
  readonly flights: RouteFlights = new RouteFlights()
  readonly away: AwayFlights
  private readonly parts: RouteCacheParts

  constructor(parts: RouteCacheParts) {
    this.parts = parts
    this.away = new AwayFlights(parts.maxHandlers)
  }

  /**
   * Answers at once, and is true, where memory holds what is fresh and the request asks for nothing special: the way of
   * nearly all hits.
   */
  quick(request: FastifyRequest, reply: FastifyReply, route: ResolvedRoute, target: RouteTarget): boolean {
    const { store } = this.parts
    const { headers } = request
    if (!isPlain(headers)) return false
    const compressor = route.ownCompression ? undefined : this.parts.compressor
    const stored = store.remembered(target.primary, headers, route.vary)
    if (!stored || stored.alwaysValidate || (!stored.shared && !target.own && this.mustNotShare(request))) return false
    const now = Date.now()
    const age = ageOf(stored, now)
    const left = stored.lifetime - age
    if (left <= 0) return false
    compressor?.takeOver(reply)
    const prepared = preparedFor(stored, headers['accept-encoding'] as string | undefined, compressor)
    reply.code(stored.status)
    for (const [name, value] of prepared.headers)
      if (name === 'vary') setHeaders(reply, { vary: value })
      else reply.header(name, value)
    reply.header('age', String(Math.floor(age / 1_000)))
    setStatus(reply, `${NAME}; hit; ttl=${Math.floor(left / 1_000)}`)
    reply.send(prepared.payload)
    return true
  }

  /** Answers at once, and is true, where memory holds what is fresh. */
  fromMemory(request: FastifyRequest, reply: FastifyReply, session: RouteSession): boolean {
    const stored = this.parts.store.remembered(session.primary, request.headers, session.route.vary)
    if (!stored || (!stored.shared && !session.own && this.mustNotShare(request))) return false
    if (session.directives.has('no-store') || usable(stored, session.directives, Date.now()) !== 'fresh') return false
    return this.answer(reply, session, stored)
  }

  /** Answers, and is true, where that can be done from the store; else prepares for the handler. */
  async run(request: FastifyRequest, reply: FastifyReply, session: RouteSession): Promise<boolean> {
    const { engine, store, patience } = this.parts
    const { headers } = request
    session.before = standingHeaders(reply)
    if (session.directives.has('no-store')) return this.forward(session, 'request')
    const giveUp = performance.now() + patience
    const refreshing = this.parts.isRefresh(request)
    for (let waited = false; ; waited = true) {
      let found: Found
      try {
        found = await store.find(session.primary, headers, session.route.vary)
      } catch (error) {
        if (!isUnable(error)) throw error
        return this.whileAway(request, reply, session)
      }
      session.found = found
      const { stored, key } = found
      const allowed = (session.allowed =
        stored && (stored.shared || session.own || !this.mustNotShare(request)) ? stored : undefined)
      if (allowed && !refreshing) {
        const use = usable(allowed, session.directives, Date.now())
        if (use === 'fresh') return this.answer(reply, session, allowed)
        if (use === 'revalidating') {
          this.parts.refresh(request, session)
          return this.answer(reply, session, allowed)
        }
      }
      session.forward = allowed === undefined ? (found.names.length > 0 && !stored ? 'vary-miss' : 'uri-miss') : 'stale'
      if (allowed && session.directives.has('no-cache')) session.forward = 'request'
      if (session.directives.has('only-if-cached')) {
        session.answered = true
        reply.code(504).header('cache-status', `${NAME}; fwd=${session.forward}; detail=only-if-cached`)
        reply.send()
        return true
      }
      // HEAD and ranges are answered from the store or not at all; only a whole GET fills it.
      if (request.method !== 'GET' || headers.range !== undefined) return this.forward(session, session.forward)
      // What may not be stored is not worth waiting for.
      const passed = this.flights.isPassed(key.value, performance.now())
      const flight = this.flights.get(key.value)
      if (flight && !passed && !refreshing && performance.now() < giveUp) {
        await flight
        continue
      }
      let begun: Awaited<ReturnType<Engine['begin']>>
      try {
        begun = await engine.begin(key, session.tags, found.seen())
      } catch (error) {
        if (!isUnable(error)) throw error
        return this.whileAway(request, reply, session)
      }
      if (begun.type === 'load') {
        session.load = begun.load
        session.land = this.flights.open(key.value)
        return this.ask(request, reply, session, allowed, !passed)
      }
      if (refreshing) {
        session.answered = true
        reply.code(204).send()
        return true
      }
      if (begun.type === 'busy') {
        if (passed || performance.now() >= giveUp) return this.forward(session, session.forward)
        await engine.parts.wakes.wait(key.value, Math.min(POLL_MS, Math.max(5, begun.left)))
      } else if (waited && performance.now() >= giveUp) return this.forward(session, session.forward)
    }
  }

  /** Redis is away: the handler answers, for all who may share its answer. */
  private async whileAway(request: FastifyRequest, reply: FastifyReply, session: RouteSession): Promise<boolean> {
    const { headers } = request
    const { route, primary } = session
    const why = 'miss; detail=redis-away'
    const shares =
      request.method === 'GET' &&
      headers.range === undefined &&
      session.directives.size === 0 &&
      (session.own || !isAuthenticated(request, this.parts.authenticator, route.ignoreCookies))
    const key = route.vary.length === 0 ? primary : `${primary} ${variantKey(route.vary, headers)}`
    if (!shares || this.flights.isPassed(key, performance.now())) return this.forward(session, why)
    const flight = this.away.get(key, session.asked)
    if (flight === undefined) {
      session.away = await this.away.open(key)
      session.forward = why
      return this.ask(request, reply, session, undefined, true)
    }
    const landed = await flight
    if (!landed || !isSelected(landed, headers) || usable(landed.response, session.directives, Date.now()) !== 'fresh')
      return this.forward(session, why)
    return this.answer(reply, session, landed.response, `${NAME}; fwd=miss; collapsed; detail=redis-away`)
  }

  /** Gives a stored response to the client. */
  answer(reply: FastifyReply, session: RouteSession, stored: StoredResponse, status?: string): true {
    session.answered = true
    session.compressor?.takeOver(reply)
    const now = Date.now()
    const answer = answerFrom(stored, reply.request.method, session.client, session.compressor, now)
    reply.code(answer.status)
    setHeaders(reply, answer.headers)
    setStatus(reply, status ?? `${NAME}; hit; ttl=${Math.floor(freshFor(stored, now) / 1_000)}`)
    const { body } = answer
    const whole = answer.status === stored.status && body === stored.bodies['identity']
    reply.send(!body?.length ? undefined : whole ? sendable(body, answer.headers['content-type']) : body)
    return true
  }

  /** Readies the request for a handler whose answer is to be stored: whole, plain, and for anybody. */
  private ask(
    request: FastifyRequest,
    reply: FastifyReply,
    session: RouteSession,
    stored: StoredResponse | undefined,
    encode: boolean,
  ): false {
    const { headers } = request
    session.client = { ...headers }
    session.authenticated = isAuthenticated(request, this.parts.authenticator, session.route.ignoreCookies)
    for (const name of ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range'] as const)
      delete headers[name]
    if (stored) {
      const { etag, 'last-modified': lastModified } = stored.headers as Record<string, string | undefined>
      const conditions = validationHeaders({ etag, lastModified })
      session.validating = Object.keys(conditions).length > 0
      Object.assign(headers, conditions)
    }
    // With a compressor the plain form is stored, and each client gets the coding it takes. Where answers were not fit
    // for storing a moment ago, compressing is left to it.
    if (session.compressor && encode) {
      session.encodes = true
      delete headers['accept-encoding']
      session.compressor.takeOver(reply)
    }
    return false
  }

  private forward(session: RouteSession, why: string): false {
    session.forward = why
    return false
  }

  /** A stored response of nobody's goes to a known user only where it says that it may. */
  private mustNotShare(request: FastifyRequest): boolean {
    return request.headers.authorization !== undefined || isKnownUser(request, this.parts.authenticator)
  }
}
