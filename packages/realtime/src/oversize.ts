import type { AuthCode } from './protocol.ts'

/** Packet types of Socket.IO's protocol, as its default parser writes them. */
const CONNECT = '0'
const CONNECT_ERROR = '4'
const MAX_NAMESPACE = 256

/**
 * The answer to a CONNECT packet whose payload is larger than `most`; undefined for every other packet. Nothing is parsed:
 * what the payload of such a packet says would cost more than the whole rest of the handshake.
 */
export function refuseOversized(data: string, most: number): string | undefined {
  if (data.length <= most || data[0] !== CONNECT) return undefined
  // '0{…}' of the main namespace, '0/name,{…}' of another; a name so long is none that is served.
  const end = data[1] === '/' ? data.slice(0, MAX_NAMESPACE).indexOf(',') + 1 : 1
  if (end > 0 && data.length - end <= most) return undefined
  const namespace = data.slice(1, Math.max(end, 1))
  const code: AuthCode = 'AUTH_TOO_LARGE'
  return `${CONNECT_ERROR}${namespace}${JSON.stringify({ message: code, data: { code } })}`
}
