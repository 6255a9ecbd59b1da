import type { IncomingHttpHeaders } from 'node:http'
import type { Compressor } from '@fastify-scale/kit'
import type { Load } from '../engine.ts'
import type { AwayFlight } from './away.ts'
import type { Directives, HeaderValue } from './directives.ts'
import type { ResolvedRoute } from './options.ts'
import type { Found } from './store.ts'
import type { StoredResponse } from './stored.ts'

/** What a request asks for. */
export interface RouteTarget {
  /** Scheme, host and URL, or what the route's `key` says. */
  primary: string
  /** Tags of what an unsafe request makes invalid: its host and URL, and where the route has a `key`, every query of it. */
  tags: readonly string[]
  /** What is stored is one user's own. */
  own: boolean
}

/** What the route cache knows of one request on its way through the hooks. */
export interface RouteSession extends RouteTarget {
  route: ResolvedRoute
  directives: Directives
  /** The client's own conditions and codings; the handler is asked without them, or with ours. */
  client: IncomingHttpHeaders
  /** When the request came to the look-up, by `performance.now()`. */
  asked: number
  /** Known where the handler is asked. */
  authenticated: boolean
  /** Headers that the reply had before the handler: hooks set them anew with each answer. */
  before: Record<string, HeaderValue>
  /** Names in the `Vary` of what the handler answered, in lower case. */
  varies: readonly string[]
  found: Found | undefined
  /** What was found, where this request may have it. */
  allowed: StoredResponse | undefined
  /** Codings are chosen and made here, for each client; undefined where the route or the app leaves that to others. */
  compressor: Compressor | undefined
  /** Held while the handler works; ended by the answer, or when the request is over. */
  load: Load | undefined
  /** Ends the flight that others of this process wait for. */
  land: (() => void) | undefined
  /** Hands the answer to those who wait for it while Redis is away. */
  away: AwayFlight | undefined
  /** The handler was asked whether what is stored is still good. */
  validating: boolean
  /** The encoded forms are made here, once, and not by the compressor's own hook. */
  encodes: boolean
  /** Answered from the store: nothing to capture. */
  answered: boolean
  /** For Cache-Status, where the handler is asked. */
  forward: string
}
