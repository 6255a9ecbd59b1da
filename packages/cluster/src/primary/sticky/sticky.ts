import { ClusterOptionError } from '../../errors.ts'
import type { Connection } from '../dispatcher.ts'
import type { NativeHandle } from '../listener.ts'
import { keyOf } from './hash.ts'
import { createReadAhead } from './read-ahead.ts'

/** What clients are known by. */
export type Sticky = { by: 'ip' } | { by: 'header'; header: string }

interface PeerHandle extends NativeHandle {
  getpeername?(out: { address?: string }): number
}

/** Finds out whose a connection is, and passes it on. */
export interface StickyEntry {
  accept(handle: NativeHandle): void
  /** Passes on at once what waits for its header. */
  flush(): void
}

/** Reads `ip` or `header:<name>`. @throws SCALE_CLUSTER_OPTION */
export function parseSticky(value: string): Sticky {
  if (value === 'ip') return { by: 'ip' }
  // RFC 9110, 5.6.2: a token.
  const header = /^header:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})$/.exec(value)?.[1]
  if (header === undefined)
    throw new ClusterOptionError(`option 'sticky' must be 'ip' or 'header:<name>', but is '${value}'`)
  return { by: 'header', header: header.toLowerCase() }
}

/**
 * By a header: that of the first request of each connection; what has none goes by its address. Requests that follow on
 * the connection go where the first one went.
 */
export function createStickyEntry(sticky: Sticky, pass: (connection: Connection) => void): StickyEntry {
  const ahead = sticky.by === 'header' ? createReadAhead(sticky.header) : undefined

  return {
    accept(handle) {
      // Known only while the client is there.
      const address = addressOf(handle)
      if (!ahead) {
        if (address !== undefined) handle.stickyKey = keyOf(address)
        return pass({ handle, idle: false })
      }
      ahead.read(handle, (value, bytes) => {
        const key = value ?? address
        if (key !== undefined) handle.stickyKey = keyOf(key)
        pass({ handle, idle: false, head: bytes.length > 0 ? bytes.toString('base64') : undefined })
      })
    },
    flush: () => ahead?.flush(),
  }
}

/** Undefined on a unix socket. */
function addressOf(handle: PeerHandle): string | undefined {
  const peer: { address?: string } = {}
  if (!handle.getpeername || handle.getpeername(peer) !== 0) return undefined
  // The same client, whichever of our addresses it used.
  return peer.address?.replace(/^::ffff:/, '')
}
