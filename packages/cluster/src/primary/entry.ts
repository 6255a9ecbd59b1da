import { ClusterOptionError } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import type { ListenMode } from '../protocol.ts'
import { createDispatcher, type Dispatcher } from './dispatcher.ts'
import { canAccept, type Listener, openListener } from './listener.ts'
import { refuseReusePort } from './reuse-port.ts'
import { createStickyDispatcher } from './sticky/dispatcher.ts'
import { createStickyEntry } from './sticky/sticky.ts'
import { systemdSockets } from './systemd.ts'

/** How connections come into the cluster. */
export interface Entry {
  /** Changes to `cluster` where a worker can't be given connections. */
  readonly mode: ListenMode
  /** Undefined where node:cluster listens. */
  readonly listener: Listener | undefined
  readonly dispatcher: Dispatcher
  /** Begins to accept, where that is the primary's work. */
  accept(): void
  /** Accepts no more; what waits to be told apart is passed on. */
  stopAccepting(): void
  /** A worker can't be given connections: node:cluster takes over, or the reason why it may not. */
  unknownNode(): string | undefined
}

/** Binds the addresses. @throws SCALE_CLUSTER_ADDRESS, SCALE_CLUSTER_OPTION where a way to balance can't be had here */
export async function openEntry(options: ResolvedOptions, warn: (message: string) => void): Promise<Entry> {
  const reusePort = options.balance === 'reuse-port'
  const lossy = reusePort && refuseReusePort()
  if (lossy) throw new ClusterOptionError(`option 'balance': 'reuse-port' ${lossy}`)
  const fds = systemdSockets()
  if (reusePort && fds.length > 0)
    throw new ClusterOptionError(`option 'balance': 'reuse-port' can't be had on a socket that systemd passes`)

  let mode: ListenMode = reusePort ? 'reuse-port' : options.balance === 'none' ? 'shared' : 'given'
  // What was asked for and can't be had is no matter of a warning.
  const refusal =
    options.sticky && `option 'sticky' does not work on Node ${process.version}, whose inside is not known`
  if (!canAccept()) {
    if (refusal) throw new ClusterOptionError(refusal)
    plainCluster()
  }
  const { host, port, path, backlog } = options
  const listener = canAccept() ? await openListener({ host, port, path, fds, backlog, reusePort }) : undefined
  const dispatcher = options.sticky ? createStickyDispatcher() : createDispatcher()
  const sticky = options.sticky && createStickyEntry(options.sticky, dispatcher.accept)

  /** What we know of Node's inside does not hold here: node:cluster listens and accepts as it does everywhere. */
  function plainCluster(): void {
    mode = 'cluster'
    warn(`connections can't be handed over between workers on Node ${process.version}`)
  }

  return {
    get mode() {
      return mode
    },
    listener,
    dispatcher,
    accept() {
      if (mode === 'given') listener?.accept(sticky?.accept ?? ((handle) => dispatcher.accept({ handle, idle: false })))
    },
    stopAccepting() {
      listener?.close()
      sticky?.flush()
    },
    unknownNode() {
      if (refusal) return refusal
      listener?.close()
      plainCluster()
      return undefined
    },
  }
}
