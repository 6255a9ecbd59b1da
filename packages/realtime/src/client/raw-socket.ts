/** The part of a socket.io-client socket that is used here. */
export interface RawClientSocket {
  connected: boolean
  timeout(ms: number): { emitWithAck(event: string, ...args: unknown[]): Promise<unknown> }
  emit(event: string, ...args: unknown[]): unknown
  /** Where every event enters, before its listeners. */
  onevent(packet: { data?: unknown[] }): void
  /** By which Socket.IO tells of its own events. */
  emitReserved(event: string, ...args: unknown[]): unknown
}
