import { hostname } from 'node:os'
import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'
import pino from 'pino'
import { makeChildrenLazy } from './lazy-child.ts'
import { quietRequests } from './request-log.ts'
import type { WorkerSpec } from './spec.ts'

export interface WorkerLog {
  /** Adds the worker's logger to an app's own server options; what the app sets itself stays. `fastify`: the app's copy. */
  serverOptions(own: FastifyServerOptions, fastify: object): FastifyServerOptions
  /** Gives a copy of each line to `listener`, or stops doing so. */
  tail(listener: ((line: string) => void) | undefined): void
}

/** Every line carries the worker's id and generation. Lines go to stdout, at once: a crash loses none. */
export function createWorkerLog(spec: WorkerSpec): WorkerLog {
  const bindings = { worker: spec.slot, generation: spec.generation }
  const out = pino.destination({ fd: 1, sync: true })
  let tailed: ((line: string) => void) | undefined
  const stream = {
    write(line: string): void {
      out.write(line)
      tailed?.(line)
    },
  }
  return {
    serverOptions(own, fastify) {
      const ownLog = own as { logController?: unknown; disableRequestLogging?: unknown; requestIdLogLabel?: unknown }
      const itsOwn = ownLog.logController ?? ownLog.disableRequestLogging ?? ownLog.requestIdLogLabel
      const logController = spec.requestLog || itsOwn !== undefined ? undefined : quietRequests(fastify)
      const options = (logController ? { logController, ...own } : own) as FastifyServerOptions
      const { logger, loggerInstance, ...rest } = options
      if (loggerInstance) return { ...rest, loggerInstance: loggerInstance.child(bindings) }
      if (logger === false) return options
      const settings = typeof logger === 'object' && logger !== null ? logger : {}
      const { stream: ownStream, file, base: ownBase, level, ...pinoOptions } = settings as Record<string, unknown>
      // As in pino: whoever says anything, be it null, does without the process.
      const base = { ...('base' in settings ? (ownBase as object | null) : processBase), ...bindings }
      // The app writes its log elsewhere, or through a transport: pino can't take our stream then.
      if (ownStream || file || pinoOptions['transport']) return { ...rest, logger: { ...settings, base } as never }
      const instance = pino(
        {
          serializers: requestSerializers,
          ...pinoOptions,
          // Of a variable that is not set, as in Fastify, the default.
          level: (level as string | undefined) || spec.logLevel,
          base,
        },
        stream,
      )
      // A listener of the app's own wants to hear of each child when it is made.
      if (pinoOptions['onChild'] === undefined) makeChildrenLazy(instance)
      return { ...rest, loggerInstance: instance as unknown as FastifyBaseLogger }
    },
    tail(listener) {
      tailed = listener
    },
  }
}

/** Pino's default. */
const processBase = { pid: process.pid, hostname: hostname() }

interface LoggedRequest {
  method: string
  url: string
  headers?: Record<string, unknown>
  host?: string
  ip?: string
  socket?: { remotePort?: number }
}

/** Those of Fastify, which it adds only to loggers that it made itself. */
const requestSerializers = {
  err: pino.stdSerializers.err,
  req: (request: LoggedRequest) => ({
    method: request.method,
    url: request.url,
    version: request.headers?.['accept-version'],
    host: request.host,
    remoteAddress: request.ip,
    remotePort: request.socket?.remotePort,
  }),
  res: (reply: { statusCode: number }) => ({ statusCode: reply.statusCode }),
}
