import pino, { type Logger } from 'pino'

/** What pino keeps the text of a logger's bindings under, and the formatters, which a child does not use twice. */
const { chindingsSym: TEXT, formattersSym: FORMATTERS } = pino.symbols as Record<string, symbol | undefined>
const BINDINGS = Symbol('fastify-scale.bindings')
const KIN = Symbol('fastify-scale.kin')

type Bindings = Record<string, unknown>
type Child = (this: Kin, bindings: Bindings, options?: object) => Kin
interface Kin {
  [BINDINGS]: Bindings
  [KIN]?: object
  [text: symbol]: unknown
}

/**
 * Fastify makes a child of the logger for each request, and pino writes the child's bindings as text at once, though most
 * requests log nothing. From now on that text is written when it is first read. In all else the child is what pino makes:
 * an object whose prototype is its parent. Children with options of their own are made as ever.
 */
export function makeChildrenLazy(logger: Logger): void {
  if (!TEXT || !FORMATTERS || typeof (logger as unknown as Kin)[TEXT] !== 'string') return
  const text = TEXT
  const formatters = FORMATTERS
  const makeChild = logger.child as unknown as Child

  function lazyChild(this: Kin, bindings: Bindings, options?: object): Kin {
    if (!isEmpty(options) || !areTexts(bindings)) return makeChild.call(this, bindings, options)
    const child = Object.create(kinOf(this)) as Kin
    child[BINDINGS] = bindings
    return child
  }

  /** The prototype between a parent and its children. */
  function kinOf(parent: Kin): object {
    const known = parent[KIN]
    // Inherited, it would be that of the parent's parent.
    if (known && Object.getPrototypeOf(known) === parent) return known
    const kin = Object.create(parent, {
      [formatters]: { value: makeChild.call(parent, {})[formatters], writable: true },
      [text]: {
        get(this: Kin): unknown {
          const written = makeChild.call(parent, this[BINDINGS])[text]
          keep(this, written)
          return written
        },
        set(this: Kin, value: unknown) {
          keep(this, value)
        },
      },
    }) as object
    Object.defineProperty(parent, KIN, { value: kin, configurable: true })
    return kin
  }

  function keep(child: Kin, value: unknown): void {
    Object.defineProperty(child, text, { value, writable: true, configurable: true, enumerable: true })
  }

  logger.child = lazyChild as never
}

/** What Fastify gives for a route without a log level or serializers of its own. */
function isEmpty(options: object | undefined): boolean {
  if (options === undefined || options === null) return false
  for (const _ in options) return false
  return true
}

/** Nothing that could be another by the time it is written. */
function areTexts(bindings: Bindings): boolean {
  for (const key in bindings) if (typeof bindings[key] !== 'string') return false
  return true
}
