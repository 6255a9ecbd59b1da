import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { type HeaderValue, joinLines } from './directives.ts'

/** The names in Vary, in order and each once. */
export function varyNames(value: HeaderValue, more: readonly string[] = []): string[] {
  const names = new Set(more)
  for (const name of joinLines(value)?.split(',') ?? []) if (name.trim() !== '') names.add(name.trim().toLowerCase())
  return [...names].sort()
}

/** What selects between the responses of one URL (RFC 9111, 4.1): the named request headers, normalised. */
export function variantKey(names: readonly string[], headers: IncomingHttpHeaders): string {
  const hash = createHash('sha256')
  for (const name of names) hash.update(`${name}\0${normalise(name, headers[name])}\0`)
  return hash.digest('base64url')
}

/** Absent and empty differ; white space around commas does not, nor, for languages and codings, case and order. */
function normalise(name: string, value: HeaderValue): string {
  const text = joinLines(value)
  if (text === undefined) return '-'
  const members = text.split(',').map((member) => member.trim().replace(/\s+/g, ' '))
  if (name !== 'accept-language' && name !== 'accept-encoding') return `=${members.join(',')}`
  const weighted = members
    .filter((member) => member !== '')
    .map((member) => {
      const [range = '', ...parameters] = member.toLowerCase().split(';')
      const q = parameters.map((one) => one.trim()).find((one) => one.startsWith('q='))
      return { range: range.trim(), q: q === undefined ? 1 : Number(q.slice(2)) }
    })
    .sort((a, b) => b.q - a.q || (a.range < b.range ? -1 : 1))
  return `=${weighted.map(({ range, q }) => (q === 1 ? range : `${range};q=${q}`)).join(',')}`
}
