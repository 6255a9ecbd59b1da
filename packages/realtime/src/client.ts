export { createRealtimeClient } from './client/create.ts'
export type { EndCode, RealtimeClient, RealtimeClientOptions, TokenReason } from './client/create.ts'
export { RealtimeClientError } from './client/errors.ts'
export type { AuthCode, CloseCode, JoinRefusal, Position } from './protocol.ts'
