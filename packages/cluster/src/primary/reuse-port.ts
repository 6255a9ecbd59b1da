import { readFileSync } from 'node:fs'

const MIGRATE = '/proc/sys/net/ipv4/tcp_migrate_req'

function readMigrate(): string {
  try {
    return readFileSync(MIGRATE, 'utf8').trim()
  } catch {
    return 'not there'
  }
}

/**
 * Why sockets of their own (SO_REUSEPORT) would lose connections here, or can't be had; undefined where neither is so.
 * A connection that the kernel has given to one socket is reset when that one closes before it was accepted, unless the
 * kernel migrates it to another (Linux 5.14).
 */
export function refuseReusePort(
  node: string = process.versions.node,
  migrate: () => string = readMigrate,
): string | undefined {
  const [major = 0, minor = 0] = node.split('.').map(Number)
  if (major < 22 || (major === 22 && minor < 12) || (major === 23 && minor < 1))
    return `needs Node 22.12 or later, and this is ${node}`
  const value = migrate()
  if (value !== '1')
    return `needs net.ipv4.tcp_migrate_req to be 1, and it is ${value}: without it the kernel resets connections whenever a worker is replaced (sysctl -w net.ipv4.tcp_migrate_req=1)`
  return undefined
}
