/**
 * A key of a room. The braces keep all of a room's keys, and its channel, in one slot of a cluster, so the name itself
 * must have none. Version 1 of keys and messages.
 */
export function roomKey(prefix: string, room: string, what: string): string {
  const name = room.replace(/[%{}]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
  return `${prefix}v1:{${name}}:${what}`
}
