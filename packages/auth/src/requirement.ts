import { show } from '@fastify-scale/kit'
import { AuthOptionError } from './errors.ts'

/** One name: it is needed. Several: any of them is enough. `all`: every one is needed. */
export type Requirement<Name extends string = string> = Name | { any: readonly Name[] } | { all: readonly Name[] }

export interface Needed {
  names: readonly string[]
  all: boolean
  /** For messages: `the role 'admin'`. */
  text: string
}

/** Reads the arguments of `requireRole` and `requireScope`. */
export function readRequirement(kind: 'role' | 'scope', given: readonly Requirement[]): Needed {
  const [first] = given
  let names: readonly unknown[]
  let all = false
  if (given.length === 1 && typeof first === 'object' && first !== null) {
    all = 'all' in first
    names = 'all' in first ? first.all : first.any
  } else names = given
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
