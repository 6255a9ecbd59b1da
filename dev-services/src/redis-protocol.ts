import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { DevServicesError } from './errors.ts'

export interface RedisTarget {
  host: string
  port: number
  password?: string | undefined
  username?: string | undefined
  /** Over TLS. Default false. */
  tls?: boolean
}

/**
 * Sends one command on a connection of its own and gives the answer's text. Enough for questions at start-up, where a
 * client library would be a dependency for users who have another one.
 * @param timeout ms for connecting and answering
 * @throws SCALE_DEV_SERVICES_REQUEST_FAILED when Redis answers with an error or not at all
 */
export function redisRequest(target: RedisTarget, command: readonly string[], timeout: number): Promise<string> {
  const { host, port, password, username } = target
  return new Promise((resolve, reject) => {
    const socket = target.tls ? connectTls({ host, port, servername: isIP(host) ? '' : host }) : connect({ host, port })
    const fail = (why: string): void => {
      socket.destroy()
      reject(new DevServicesError('SCALE_DEV_SERVICES_REQUEST_FAILED', `${host}:${port}: ${why}`))
    }
    const timer = setTimeout(() => fail(`no answer within ${timeout} ms`), timeout)
    let pending = Buffer.alloc(0)
    let skip = password ? 1 : 0
    socket.on(target.tls ? 'secureConnect' : 'connect', () => {
      if (password) socket.write(encode(username ? ['AUTH', username, password] : ['AUTH', password]))
      socket.write(encode(command))
    })
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      for (let reply = decode(pending); reply; reply = decode(pending)) {
        pending = pending.subarray(reply.length)
        if (reply.error) return fail(reply.text)
        if (skip-- > 0) continue
        socket.destroy()
        resolve(reply.text)
        return
      }
    })
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
    socket.on('close', () => {
      clearTimeout(timer)
      fail('the connection was closed')
    })
  })
}

function encode(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

// One simple string, error, integer or bulk string, or nothing while it is incomplete.
function decode(bytes: Buffer): { text: string; error: boolean; length: number } | undefined {
  const end = bytes.indexOf('\r\n')
  if (end < 0) return undefined
  const head = bytes.toString('utf8', 1, end)
  if (bytes[0] !== 0x24) return { text: head, error: bytes[0] === 0x2d, length: end + 2 }
  const size = Math.max(0, Number(head))
  const length = Number(head) < 0 ? end + 2 : end + 2 + size + 2
  if (bytes.length < length) return undefined
  return { text: bytes.toString('utf8', end + 2, end + 2 + size), error: false, length }
}
