import { type FailOption, show } from '@fastify-scale/kit'
import { OptionError } from './errors.ts'

/** Makes the error for a wrong option. */
export const fail: FailOption = (message) => new OptionError(message)

export function text(name: string, value: string): string {
  if (typeof value !== 'string' || value === '' || /[{}]/.test(value))
    throw fail(`option '${name}' must be text without braces, but is ${show(value)}`)
  return value
}

export function flag(name: string, value: boolean): boolean {
  if (typeof value !== 'boolean') throw fail(`option '${name}' must be true or false, but is ${show(value)}`)
  return value
}
