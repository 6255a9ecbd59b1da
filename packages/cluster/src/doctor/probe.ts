// One process of the app under the doctor's eyes: answers requests by injection and reports what it sees.
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import diagnostics from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import scaleCluster from '../plugin.ts'
import { loadApp } from '../worker/load-app.ts'
import type { Finding } from './findings.ts'
import { loadedModules } from './loaded-modules.ts'
import type { FromProbe, ProbeAnswer, ProbeRequest, ProbeRoute, ToProbe } from './messages.ts'
import { blurMemory } from './own-process.ts'
import { watchFiles } from './watch-files.ts'
import { watchPlugins } from './watch-plugins.ts'
import { watchSockets } from './watch-sockets.ts'
import { watchTimers } from './watch-timers.ts'

const [app = '', root = ''] = process.argv.slice(2)
const current = new AsyncLocalStorage<string>()
const found: Finding[] = []
const report = (finding: Finding): void => void found.push(finding)

function tell(message: FromProbe): void {
  process.send?.(message)
}

function flush(): void {
  if (found.length > 0) tell({ tell: 'findings', findings: found.splice(0) })
}

async function answer(instance: FastifyInstance, request: ProbeRequest, signal: AbortSignal): Promise<ProbeAnswer> {
  const { method = 'GET', url, headers = {}, body } = request
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const type = body === undefined || typeof body === 'string' ? {} : { 'content-type': 'application/json' }
  const response = await current.run(`${method} ${url}`, () =>
    instance.inject({ method: method as 'GET', url, headers: { ...type, ...headers }, payload, signal }),
  )
  const contentType = String(response.headers['content-type'] ?? '')
  const cookies = [response.headers['set-cookie'] ?? []].flat().map((cookie) => String(cookie).split(';')[0] as string)
  return { status: response.statusCode, type: contentType, body: bodyOf(contentType, response.body), cookies }
}

function bodyOf(type: string, text: string): unknown {
  if (!/\bjson\b/.test(type)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

async function main(): Promise<void> {
  blurMemory()
  const inRequest = (): string | undefined => current.getStore()
  watchTimers(root, inRequest, report)
  watchFiles(root, inRequest, report)
  const sockets = watchSockets(root, app)
  const watched = new Map<unknown, ProbeRoute[]>()
  // createServer() may add plugins and routes before it returns the instance; Fastify tells of each as it is made.
  diagnostics.subscribe('fastify.initialization', (message) => {
    const { fastify } = message as { fastify: FastifyInstance }
    watched.set(fastify, watchPlugins(root, fastify, report))
  })
  let routes: ProbeRoute[] = []
  const instance = await loadApp(app, {
    // Numbers that count up in each process would look like state.
    serverOptions: (own) => ({ ...own, logger: false, genReqId: () => randomUUID() }),
    created: (made) => {
      routes = watched.get(made) ?? watchPlugins(root, made, report)
      // As the launcher does, so that the app boots as it would there.
      void made.register(scaleCluster)
    },
  })
  await instance.ready()
  found.push(...sockets())
  flush()
  const running = new Map<number, AbortController>()
  process.on('message', (message: ToProbe) => {
    if (message.do === 'stop') process.exit(0)
    const { id } = message
    if (message.do === 'end') return running.get(id)?.abort()
    if (message.do === 'modules') return tell({ tell: 'modules', id, files: loadedModules(root) })
    const ending = new AbortController()
    running.set(id, ending)
    answer(instance, message.request, ending.signal)
      .catch((error: Error): ProbeAnswer => ({ status: 0, type: '', body: error.message, cookies: [] }))
      .then((result) => {
        running.delete(id)
        flush()
        tell({ tell: 'answer', id, answer: result })
      })
      .catch(() => undefined)
  })
  tell({ tell: 'ready', routes })
}

process.on('disconnect', () => process.exit(0))
main().catch((error: Error) => {
  tell({ tell: 'failed', reason: error.message })
  process.exitCode = 1
  process.disconnect()
})
