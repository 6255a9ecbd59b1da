import type { Finding } from './findings.ts'

/** One request to replay; the file for `--requests` is a list of these. */
export interface ProbeRequest {
  /** Default `GET`. */
  method?: string
  url: string
  headers?: Record<string, string>
  /** Sent as JSON unless it is text. */
  body?: unknown
}

/** What came back, as far as two answers are compared by it. */
export interface ProbeAnswer {
  status: number
  type: string
  /** Parsed where it is JSON. */
  body: unknown
  /** `name=value` of each Set-Cookie. */
  cookies: string[]
}

/** A route of the app: what can be asked without being told. */
export interface ProbeRoute {
  method: string
  url: string
  /** Where it is registered. */
  at?: string
}

export type ToProbe =
  | { do: 'request'; id: number; request: ProbeRequest }
  /** Nobody waits for the answer any more: the request is ended. */
  | { do: 'end'; id: number }
  | { do: 'modules'; id: number }
  | { do: 'stop' }
export type FromProbe =
  | { tell: 'ready'; routes: ProbeRoute[] }
  | { tell: 'failed'; reason: string }
  | { tell: 'answer'; id: number; answer: ProbeAnswer }
  | { tell: 'modules'; id: number; files: string[] }
  | { tell: 'findings'; findings: Finding[] }
