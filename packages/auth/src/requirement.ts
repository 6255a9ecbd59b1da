import { show } from '@fastify-scale/kit'
import { AuthOptionError } from './errors.ts'

/** One name: it is needed. Several, or `any`: one of them is enough. `all`: every one is needed. For both, two guards. */
export type Requirement<Name extends string = string> =
  | Name
  | { any: readonly Name[]; all?: never }
  | { all: readonly Name[]; any?: never }

export interface Needed {
  names: readonly string[]
  all: boolean
  /** For messages: `the role 'admin'`. */
  text: string
}

/** Reads the arguments of `requireRole` and `requireScope`. */
export function readRequirement(kind: 'role' | 'scope', given: readonly Requirement[]): Needed {
  const [first] = given
  let names: unknown = given
  let all = false
  if (given.length === 1 && typeof first === 'object' && first !== null) {
    const entries = Object.entries(first)
    const [key, list] = entries[0] ?? []
    all = key === 'all'
    // With both, one of them would be dropped, and the guard would let in more than was meant.
    names = entries.length === 1 && (all || key === 'any') ? list : undefined
  }
  if (
    !Array.isArray(names) ||
    names.length === 0 ||
    !names.every((name) => typeof name === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(name))
  )
    throw new AuthOptionError(
      `require${kind === 'role' ? 'Role' : 'Scope'} takes names without spaces or quotes, { any: [...] } or { all: [...] }, but got ${show(given)}`,
    )
  const list = (names as string[]).map((name) => `'${name}'`).join(all ? ' and ' : ' or ')
  return { names: names as string[], all, text: `the ${kind} ${list}` }
}

export function isMet(needed: Needed, held: readonly string[]): boolean {
  const has = (name: string): boolean => held.includes(name)
  return needed.all ? needed.names.every(has) : needed.names.some(has)
}
