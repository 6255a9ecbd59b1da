import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Names what a pid means something in: this host, and on Linux this namespace of pids. Containers and sandboxes that
 * share a directory have pids of their own, and some of them the name of their host.
 */
export const PID_SPACE: string = `${hostname()} ${namespace()}`.replace(/[^a-zA-Z0-9]+/g, '_')

function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}
