import type { FastifyInstance } from 'fastify'
import type { Finding } from './findings.ts'
import { placeIn, stackHere } from './frames.ts'
import type { ProbeRoute } from './messages.ts'

interface Rule {
  kind: Finding['kind']
  /** True where the plugin keeps its state in the process with these options. */
  bad(options: Record<string, unknown>): boolean
  message: string
}

/** Plugins that keep state in the process unless they are told where else. */
const RULES: Record<string, Rule> = {
  '@fastify/session': {
    kind: 'session-in-process',
    bad: (options) => !options['store'],
    message: '@fastify/session keeps sessions in the memory of one process',
  },
  '@fastify/rate-limit': {
    kind: 'store-in-process',
    bad: (options) => !options['redis'] && !options['store'],
    message: '@fastify/rate-limit counts in each process by itself: limits are multiplied by the number of workers',
  },
}

/** Looks at every registration and every route of an app, from before its own code runs. */
export function watchPlugins(
  root: string,
  instance: FastifyInstance,
  report: (finding: Finding) => void,
): ProbeRoute[] {
  const routes: ProbeRoute[] = []
  instance.addHook('onRoute', function doctorRoute(route) {
    const at = placeIn(root, stackHere())
    for (const method of [route.method].flat()) routes.push({ method, url: route.url, at })
  })
  const register = instance.register as (...args: unknown[]) => unknown
  // Child contexts inherit it by their prototype.
  ;(instance as unknown as Record<string, unknown>)['register'] = function watchedRegister(
    this: unknown,
    ...args: unknown[]
  ) {
    const [plugin, options] = args
    const at = placeIn(root, stackHere())
    const judge = (loaded: unknown): void => {
      const name = nameOf(loaded)
      const rule = name === undefined ? undefined : RULES[name]
      if (rule && typeof options !== 'function' && rule.bad((options ?? {}) as Record<string, unknown>))
        report({ kind: rule.kind, message: rule.message, at })
    }
    // `register(import('…'))`; that it can't be loaded is Fastify's to say.
    if (isThenable(plugin)) plugin.then(judge, () => undefined)
    else judge(plugin)
    return register.apply(this, args)
  }
  return routes
}

function isThenable(plugin: unknown): plugin is PromiseLike<unknown> {
  return typeof (plugin as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function'
}

/** The name that fastify-plugin gives; the namespace of a CommonJS or ES module counts as its default export. */
function nameOf(plugin: unknown): string | undefined {
  const candidate = (typeof plugin === 'object' && plugin !== null && 'default' in plugin ? plugin.default : plugin) as
    | Record<symbol, unknown>
    | undefined
  const meta = candidate?.[Symbol.for('plugin-meta')] as { name?: string } | undefined
  const name = meta?.name ?? candidate?.[Symbol.for('fastify.display-name')]
  return typeof name === 'string' ? name : undefined
}
