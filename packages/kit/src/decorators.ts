import { type FailOption, failOption } from './errors.ts'

/** What can say whether a name is taken: a Fastify instance. */
export interface HasDecorators {
  hasDecorator(name: string): boolean
  hasRequestDecorator(name: string): boolean
}

/**
 * Names the way out before Fastify says only that a decorator is there: call it before anything is opened.
 *
 * @param name the decorator that is to be added
 * @param option what gives it another name, as in `decorator`
 * @param target whether it is the instance's or the request's. Default `'instance'`
 * @throws what `fail` makes, where another plugin has that name; default SCALE_KIT_OPTION
 */
export function refuseTaken(
  fastify: HasDecorators,
  name: string,
  option: string,
  fail: FailOption = failOption,
  target: 'instance' | 'request' = 'instance',
): void {
  const taken = target === 'request' ? fastify.hasRequestDecorator(name) : fastify.hasDecorator(name)
  if (!taken) return
  throw fail(`the decorator '${name}' is taken by another plugin: choose another name with the option '${option}'`)
}
