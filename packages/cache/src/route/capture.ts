import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Readable } from 'node:stream'
import { skipChannel } from '../channels.ts'
import { tagsOf } from '../tag-names.ts'
import { answerFrom } from './answer.ts'
import type { RouteCacheParts, RouteLookup } from './cache.ts'
import type { HeaderValue } from './directives.ts'
import { freshenHeaders } from './freshen.ts'
import { headersToJudge, ownHeaders, variesBy } from './hook-headers.ts'
import { isAuthenticated } from './identity.ts'
import { type Storable, judgeResponse } from './policy.ts'
import { NAME, setHeaders, setStatus } from './reply.ts'
import { coversError } from './request.ts'
import { varyNames } from './selection.ts'
import type { RouteSession } from './session.ts'
import type { StoredResponse } from './stored.ts'
import { tee } from './tee.ts'

const FAILED = new Set([500, 502, 503, 504])

/** The other end: what the handler answered is stored if it may be, and what is sent is made of it. */
export class RouteCapture {
  private readonly parts: RouteCacheParts
  private readonly lookup: RouteLookup
  private readonly onError: (error: unknown) => void

  constructor(parts: RouteCacheParts, lookup: RouteLookup, onError: (error: unknown) => void) {
    this.parts = parts
    this.lookup = lookup
    this.onError = onError
  }

  /** The payload to send instead of the one given. */
  async run(request: FastifyRequest, reply: FastifyReply, session: RouteSession, payload: unknown): Promise<unknown> {
    const now = Date.now()
    const stored = session.allowed
    session.varies = variesBy(reply, session)
    if (session.validating && stored && reply.statusCode === 304) {
      discard(payload)
      return this.freshen(request, reply, session, stored, now)
    }
    if (stored && FAILED.has(reply.statusCode) && coversError(stored, now)) {
      discard(payload)
      this.end(session)
      return this.send(
        reply,
        session,
        stored,
        now,
        `${NAME}; hit; fwd=stale; fwd-status=${reply.statusCode}; detail=stale-if-error`,
      )
    }
    const headers = ownHeaders(reply, session)
    // Who is asking may have become known in the handler.
    const { authenticator } = this.parts
    session.authenticated ||= isAuthenticated(request, authenticator, session.route.ignoreCookies)
    const judged =
      session.load || session.away
        ? judgeResponse(
            {
              status: reply.statusCode,
              headers: headersToJudge(reply, headers),
              authenticated: session.authenticated,
              own: session.own,
            },
            session.route,
            now,
          )
        : undefined
    const why = `${NAME}; fwd=${session.forward}${session.forward === 'stale' ? `; fwd-status=${reply.statusCode}` : ''}`
    if (!judged?.store) {
      this.pass(session)
      this.end(session)
      setStatus(reply, judged ? `${why}; detail="${judged.reason}"` : why)
      return payload
    }
    const response = toStored(reply.statusCode, headers, judged, this.jitter(judged), now)
    if (payload === null || payload === undefined || typeof payload === 'string' || payload instanceof Uint8Array) {
      const body = payload === null || payload === undefined ? Buffer.alloc(0) : Buffer.from(payload as string)
      if (body.length > this.parts.maxSize) {
        this.tooLarge(session, body.length)
        setStatus(reply, `${why}; detail="too large"`)
        return payload
      }
      setStatus(reply, session.load ? `${why}; stored` : why)
      response.bodies['identity'] = body
      if (session.encodes) await this.encode(session, response)
      this.save(request, reply, session, response)
      return this.send(reply, session, response, now, undefined)
    }
    if (isStream(payload)) return this.collect(request, reply, session, response, payload, why)
    // A Response or a stream of the web is sent as it is.
    this.pass(session)
    this.end(session)
    setStatus(reply, why)
    return payload
  }

  /** The load is over without anything stored. */
  end(session: RouteSession): void {
    session.load?.abandon()
    session.load = undefined
    session.land?.()
    session.land = undefined
    session.away?.land(undefined)
    session.away = undefined
  }

  /** The answers of this key are not for sharing: for a while nobody waits for another's. */
  private pass(session: RouteSession): void {
    const key = session.load ? session.found?.key.value : session.away?.key
    if (key !== undefined) this.lookup.flights.pass(key, performance.now())
  }

  private collect(
    request: FastifyRequest,
    reply: FastifyReply,
    session: RouteSession,
    response: StoredResponse,
    payload: Readable,
    why: string,
  ): unknown {
    const length = Number(reply.getHeader('content-length') ?? Number.NaN)
    if (length > this.parts.maxSize) {
      this.tooLarge(session, length)
      setStatus(reply, `${why}; detail="too large"`)
      return payload
    }
    // Of a stream without a length it is not known yet.
    setStatus(reply, session.load && !Number.isNaN(length) ? `${why}; stored` : why)
    return tee(payload, this.parts.maxSize, (whole) => {
      // Cut off in the middle: what came is not the response.
      if (whole === undefined || (!Number.isNaN(length) && whole.length !== length)) {
        this.pass(session)
        return this.end(session)
      }
      response.bodies['identity'] = whole
      const encoded = session.encodes ? this.encode(session, response) : Promise.resolve()
      encoded.then(
        () => this.save(request, reply, session, response),
        (error: unknown) => {
          this.end(session)
          this.onError(error)
        },
      )
    })
  }

  /** What is stored is good, says the handler: its fields are brought up to date, and the client gets it. */
  private async freshen(
    request: FastifyRequest,
    reply: FastifyReply,
    session: RouteSession,
    stored: StoredResponse,
    now: number,
  ): Promise<unknown> {
    const arrived = ownHeaders(reply, session)
    const headers = freshenHeaders(stored, arrived)
    const { status, bodies } = stored
    const judged = judgeResponse(
      // Age and Date are those of the validation.
      {
        status,
        headers: { ...headersToJudge(reply, headers), age: arrived['age'] },
        authenticated: session.authenticated,
        own: session.own,
      },
      session.route,
      now,
    )
    let fresh = stored
    if (judged.store) {
      fresh = toStored(status, headers, judged, this.jitter(judged), now)
      fresh.bodies = bodies
      this.save(request, reply, session, fresh)
    } else this.end(session)
    for (const name of Object.keys(arrived)) reply.removeHeader(name)
    return this.send(reply, session, fresh, now, `${NAME}; fwd=stale; fwd-status=304${judged.store ? '; stored' : ''}`)
  }

  /** Makes the reply out of a response and returns the payload. */
  private send(
    reply: FastifyReply,
    session: RouteSession,
    response: StoredResponse,
    now: number,
    status: string | undefined,
  ): Buffer | undefined {
    const answer = answerFrom(response, reply.request.method, session.client, session.compressor, now)
    if (response.age < 1_000 && status === undefined) delete answer.headers['age']
    reply.removeHeader('content-length')
    if (answer.status !== reply.statusCode) {
      for (const name of ['content-type', 'content-encoding', 'content-range']) reply.removeHeader(name)
      reply.code(answer.status)
    }
    setHeaders(reply, answer.headers)
    if (status !== undefined) setStatus(reply, status)
    return answer.body
  }

  private save(request: FastifyRequest, reply: FastifyReply, session: RouteSession, response: StoredResponse): void {
    const { load, found, land, away, route } = session
    session.load = undefined
    session.land = undefined
    session.away = undefined
    const names = varyNames(response.headers['vary'], [...route.vary, ...session.varies]).filter(
      (name) => !(session.encodes && name === 'accept-encoding' && response.headers['content-encoding'] === undefined),
    )
    away?.land({ response, names, headers: session.client })
    if (!load || !found) return
    const store = async (): Promise<void> => {
      const given = typeof route.tags === 'function' ? route.tags(request, reply) : route.tags
      await this.parts.store.save(load, found, session.primary, names, session.client, response, [
        ...session.tags,
        ...tagsOf('', given),
      ])
    }
    store()
      .catch((error: unknown) => {
        load.abandon()
        this.onError(error)
      })
      .finally(() => land?.())
  }

  /** Adds the encoded forms, once for all who will ask. */
  private async encode({ compressor }: RouteSession, response: StoredResponse): Promise<void> {
    const type = response.headers['content-type']
    const body = response.bodies['identity']
    if (!compressor || !body || response.headers['content-encoding'] !== undefined) return
    if (/\bno-transform\b/i.test(String(response.headers['cache-control'] ?? ''))) return
    if (!compressor.isCompressible(typeof type === 'string' ? type : undefined)) return
    Object.assign(response.bodies, await compressor.encodeVariants(body, typeof type === 'string' ? type : undefined))
  }

  private tooLarge(session: RouteSession, bytes: number): void {
    skipChannel.publish(() => ({ key: session.primary, bytes }))
    this.pass(session)
    this.end(session)
  }

  /** Only what the response did not say itself is shortened. */
  private jitter(judged: Storable): number {
    return judged.implied ? 1 - this.parts.jitter * this.parts.random() : 1
  }
}

function toStored(
  status: number,
  headers: Record<string, HeaderValue>,
  judged: Storable,
  share: number,
  now: number,
): StoredResponse {
  const kept: StoredResponse['headers'] = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || judged.without.has(name)) continue
    kept[name] = Array.isArray(value) ? [...(value as string[])] : String(value)
  }
  // A stored response has a date (RFC 9110, 6.6.1).
  kept['date'] ??= new Date(now).toUTCString()
  return {
    status,
    headers: kept,
    at: now,
    age: judged.age,
    lifetime: judged.lifetime * share,
    staleWhileRevalidate: judged.staleWhileRevalidate,
    staleIfError: judged.staleIfError,
    alwaysValidate: judged.alwaysValidate,
    neverStale: judged.neverStale,
    shared: judged.shared,
    bodies: {},
  }
}

function isStream(payload: unknown): payload is Readable {
  return typeof (payload as Readable | undefined)?.pipe === 'function'
}

function discard(payload: unknown): void {
  if (isStream(payload)) payload.on('error', () => undefined).resume()
}
