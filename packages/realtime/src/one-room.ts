type Apply = (options: Selection, callback: (socket: unknown) => void) => void

interface Selection {
  rooms: ReadonlySet<string>
  except?: ReadonlySet<string>
}

/** The part of Socket.IO's adapters that finds the sockets of a broadcast. */
interface Finder {
  apply: Apply
  readonly rooms: ReadonlyMap<string, ReadonlySet<string>>
  readonly nsp: { readonly sockets: ReadonlyMap<string, unknown> }
}

/**
 * Finds the sockets of one room by one look-up each. Socket.IO also makes a set of those that were found, for sockets in
 * several of the rooms, and looks each up among those excepted, which most broadcasts have none of.
 */
export function applyToOneRoom(adapter: object): void {
  const finder = adapter as Partial<Finder>
  const { apply, rooms, nsp } = finder
  if (typeof apply !== 'function' || !(rooms instanceof Map) || !(nsp?.sockets instanceof Map)) return
  const { sockets } = nsp
  finder.apply = function applyDirectly(options, callback) {
    if (options.rooms.size !== 1 || (options.except && options.except.size > 0))
      return apply.call(adapter, options, callback)
    const [room] = options.rooms
    const ids = rooms.get(room as string)
    if (!ids) return
    // Who comes in meanwhile is not meant; who leaves and comes back would never end.
    let left = ids.size
    for (const id of ids) {
      if (left-- === 0) return
      const socket = sockets.get(id)
      if (socket) callback(socket)
    }
  }
}
