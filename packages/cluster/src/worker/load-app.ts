import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { FastifyInstance, FastifyPluginAsync, FastifyServerOptions } from 'fastify'
import { AppError } from '../errors.ts'

/** What the app's module may export. */
interface AppModule {
  default?: unknown
  options?: unknown
  createServer?: unknown
}

export interface AppEnvironment {
  /** Adds what the launcher wants (logger) to the app's own server options. `fastify`: the app's copy. */
  serverOptions(own: FastifyServerOptions, fastify: object): FastifyServerOptions
  /** Called with the instance before the app's plugin is registered, or with what createServer() returned. */
  created(app: FastifyInstance): void
}

/**
 * Makes the Fastify instance of an app: a module with a named export `createServer(options)`, or one whose default
 * export is a Fastify plugin, with server options in its export `options`. Throws SCALE_CLUSTER_APP.
 */
export async function loadApp(file: string, environment: AppEnvironment): Promise<FastifyInstance> {
  const module = await importApp(file)
  const createServer = pick(module, 'createServer')
  const own = (pick(module, 'options') ?? {}) as FastifyServerOptions
  if (typeof own !== 'object')
    throw new AppError(`the export 'options' of ${file} must be an object of Fastify's server options`)

  const { default: fastify } = (await import(pathToFileURL(resolveFastify(file)).href)) as typeof import('fastify')
  const options = environment.serverOptions(own, fastify)

  if (typeof createServer === 'function') {
    const app = (await createServer(options)) as FastifyInstance | undefined
    if (!app || typeof app.register !== 'function' || !app.server)
      throw new AppError(`createServer() of ${file} must return a Fastify instance`)
    if (app.server.listening)
      throw new AppError(`createServer() of ${file} must not call listen(): the launcher listens for all workers`)
    environment.created(app)
    return app
  }

  const plugin = pluginOf(module)
  if (!plugin)
    throw new AppError(
      `${file} must export a Fastify plugin as its default export (async (app, options) => { ... }), or a function createServer(options) that returns a Fastify instance`,
    )
  const app = fastify(options) as unknown as FastifyInstance
  environment.created(app)
  void app.register(plugin)
  return app
}

/** The named export, wherever CommonJS interop has put it. */
function pick(module: AppModule, name: 'options' | 'createServer'): unknown {
  const fallback = module.default as AppModule | undefined
  return module[name] ?? fallback?.[name]
}

function pluginOf(module: AppModule): FastifyPluginAsync | undefined {
  if (typeof module.default === 'function') return module.default as FastifyPluginAsync
  // TypeScript and Babel compile a default export to `exports.default`.
  const inner = (module.default as AppModule | undefined)?.default
  return typeof inner === 'function' ? (inner as FastifyPluginAsync) : undefined
}

async function importApp(file: string): Promise<AppModule> {
  if (!existsSync(file)) throw new AppError(`there is no app at ${file}`)
  try {
    return (await import(pathToFileURL(file).href)) as AppModule
  } catch (error) {
    if (error instanceof SyntaxError) throw new AppError(`${locate(file) ?? file}: ${error.name}: ${error.message}`)
    throw error
  }
}

/** Node keeps the place of a syntax error to itself when the module was imported; `node --check` prints it. */
function locate(file: string): string | undefined {
  try {
    execFileSync(process.execPath, ['--check', file], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 5_000 })
  } catch (error) {
    const text = String((error as { stderr?: Buffer }).stderr ?? '')
    return /^(?:file:\/\/)?(\/.*:\d+)$/m.exec(text)?.[1]
  }
  return undefined
}

/** The app's own copy of Fastify, or ours where it has none. */
function resolveFastify(file: string): string {
  try {
    return createRequire(file).resolve('fastify')
  } catch {
    return createRequire(import.meta.url).resolve('fastify')
  }
}
