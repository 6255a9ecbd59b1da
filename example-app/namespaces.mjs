// Hosts of their own on one machine: network namespaces (and host names) on a bridge. Needs Linux, root and iproute2.
import { execFileSync, spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { pipeline } from 'node:stream'

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'ignore'] })

/**
 * Makes a namespace for each name, and `gateway`, the address of this side. Gives undefined where the machine does not
 * allow it. What was made goes when this process goes, however it goes.
 */
export function makeNamespaces(names) {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined
  const id = process.pid % 100_000
  const bridge = `fsb${id}`
  const net = `10.73.${process.pid % 250}`
  const gateway = `${net}.254`
  const hosts = names.map((name, i) => ({ name, namespace: `fs${id}-${name}`, address: `${net}.${i + 1}` }))
  const undo = [`ip link del ${bridge}`, ...hosts.map(({ namespace }) => `ip netns del ${namespace}`)].join('; ')
  // Reads until the pipe's other end, which only we have, is closed.
  const guard = spawn('/bin/sh', ['-c', `trap '' INT TERM HUP; read _; ${undo}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  guard.stdin.unref()
  try {
    ip('link', 'add', bridge, 'type', 'bridge')
    ip('addr', 'add', `${gateway}/24`, 'dev', bridge)
    ip('link', 'set', bridge, 'up')
    for (const [i, { namespace, address }] of hosts.entries()) {
      const [outside, inside] = [`fs${id}o${i}`, `fs${id}i${i}`]
      ip('netns', 'add', namespace)
      ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside)
      ip('link', 'set', outside, 'master', bridge, 'up')
      ip('link', 'set', inside, 'netns', namespace)
      ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', inside)
      ip('-n', namespace, 'link', 'set', inside, 'up')
      ip('-n', namespace, 'link', 'set', 'lo', 'up')
    }
    execFileSync('unshare', ['--uts', 'true'], { stdio: 'ignore' })
  } catch {
    guard.stdin.destroy()
    return undefined
  }
  return {
    gateway,
    hosts,
    /** The command line that runs another one on a host. It becomes that process: its pid and its exit code are the same. */
    on: ({ namespace, name }, command, args) => [
      'ip',
      [
        'netns',
        'exec',
        namespace,
        'unshare',
        '--uts',
        'sh',
        '-c',
        `hostname ${name}; exec "$@"`,
        'sh',
        command,
        ...args,
      ],
    ],
    remove: () => guard.stdin.destroy(),
  }
}

/** Lets the hosts reach a server that listens on this machine's loopback. Resolves with the function that ends it. */
export async function forward(address, port) {
  const server = createServer((socket) => {
    const upstream = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.setNoDelay(true)
    // Either side may go at any time: the other is told by `pipeline`.
    pipeline(socket, upstream, socket, () => undefined)
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, resolve)
  })
  return () => server.close()
}
