import { connect } from 'node:net'
import { createScaleError } from '@fastify-scale/kit'
import { ControlError, NotRunningError } from '../errors.ts'
import { encode, readReply } from './messages.ts'

export interface AskOptions {
  /** ms of silence after which the launcher counts as not running. Default: none. */
  timeout?: number
  onNews?: (news: unknown) => void
  signal?: AbortSignal
}

/**
 * Gives an order to a running launcher and resolves with its answer. Rejects with SCALE_CLUSTER_NOT_RUNNING where nobody
 * listens, or with the launcher's own error.
 */
export function askLauncher(
  path: string,
  order: string,
  argument?: unknown,
  options: AskOptions = {},
): Promise<unknown> {
  const { timeout = 0, onNews, signal } = options
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let text = ''
    let settled = false
    const done = (act: () => void): void => {
      if (settled) return
      settled = true
      socket.destroy()
      act()
    }
    signal?.addEventListener('abort', () => done(() => resolve(undefined)), { once: true })
    socket.setEncoding('utf8')
    socket.setTimeout(timeout, () =>
      done(() => reject(new ControlError(`the launcher did not answer within ${timeout} ms`))),
    )
    socket.on('error', (error: NodeJS.ErrnoException) => done(() => reject(connectError(error, path))))
    socket.on('close', () => done(() => reject(new NotRunningError('the launcher ended before it answered'))))
    socket.on('connect', () => socket.write(encode({ v: 1, order, argument })))
    socket.on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const reply = readReply(text.slice(0, end))
        text = text.slice(end + 1)
        if (!reply) return done(() => reject(new ControlError('the launcher sent something that is no answer')))
        if ('news' in reply) onNews?.(reply.news)
        else if (reply.ok) return done(() => resolve(reply.answer))
        else return done(() => reject(remoteError(reply.error, reply.code)))
      }
    })
  })
}

function connectError(error: NodeJS.ErrnoException, path: string): Error {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')
    return new NotRunningError(`no launcher listens at ${path}`)
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new ControlError(`the launcher at ${path} belongs to another user`)
  return new ControlError(`cannot talk to the launcher at ${path}: ${error.message}`)
}

/** The launcher's own error, under its own code. */
function remoteError(message: string, code: string | undefined): Error {
  return code === undefined ? new ControlError(message) : new (createScaleError(code))(message)
}
