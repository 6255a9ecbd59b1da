/** Somebody in a room. */
export interface PresenceMember {
  /** The user's `sub`; of an anonymous socket, its id. */
  id: string
  /** How many sockets of theirs are in the room. */
  sockets: number
}
