import { decodeBase64url } from './base64url.ts'
import { TokenInvalidError } from './errors.ts'
import { parseStrictObject } from './json.ts'

/** Longest token in characters. A token rides in every request; Node refuses headers of 16 KB in all. */
export const MAX_TOKEN_LENGTH = 8_192

/** The three parts of a JWS in compact form (RFC 7515, 7.1), still encoded. */
export interface TokenParts {
  header: string
  payload: string
  signature: string
  /** What the signature is over: the first two parts with their dot. */
  input: string
}

/** Splits a token; whatever is not exactly three non-empty parts of at most 8 KB in all is refused. */
export function splitToken(token: unknown): TokenParts {
  if (typeof token !== 'string') throw new TokenInvalidError('it is not text')
  if (token.length > MAX_TOKEN_LENGTH) throw new TokenInvalidError('it is too long')
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  if (first < 1 || second <= first + 1 || second === token.length - 1 || token.includes('.', second + 1))
    throw new TokenInvalidError('it is not a signed token of three parts')
  return {
    header: token.slice(0, first),
    payload: token.slice(first + 1, second),
    signature: token.slice(second + 1),
    input: token.slice(0, second),
  }
}

/** Decodes one JSON part. */
export function decodePart(part: string, name: 'header' | 'payload'): Record<string, unknown> {
  const bytes = decodeBase64url(part)
  const value = bytes && parseStrictObject(bytes)
  if (!value) throw new TokenInvalidError(`its ${name} is not a canonical base64url JSON object with unique names`)
  return value
}

/** Header parameters that change what a token means: none is ever honoured, so none is accepted. */
const REFUSED_PARAMETERS = ['crit', 'b64', 'enc', 'zip', 'jwk', 'jku', 'x5u', 'x5c'] as const

/** The header parameters that verification uses. */
export interface TokenHeader {
  alg: string
  kid: string | undefined
  typ: string | undefined
}

/**
 * Checks the header's form. Keys come from the configured set alone (RFC 8725, 3.10): a token that brings or points to a
 * key is refused, not ignored.
 */
export function checkHeader(header: Record<string, unknown>): TokenHeader {
  const { alg, kid, typ, cty } = header
  for (const parameter of REFUSED_PARAMETERS)
    if (Object.hasOwn(header, parameter)) throw new TokenInvalidError(`its header has '${parameter}'`)
  if (typeof alg !== 'string') throw new TokenInvalidError("its header has no 'alg'")
  if (kid !== undefined && typeof kid !== 'string') throw new TokenInvalidError("its 'kid' is not text")
  if (typ !== undefined && typeof typ !== 'string') throw new TokenInvalidError("its 'typ' is not text")
  if (cty !== undefined) throw new TokenInvalidError("its header has 'cty': nested tokens are not accepted")
  return { alg, kid, typ }
}
