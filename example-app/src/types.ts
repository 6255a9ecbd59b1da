import type {} from '@fastify-scale/auth'
import type {} from '@fastify-scale/realtime'
import type { Photo } from './db/photos.ts'

// What this service puts into its tokens, and the events that it sends.
declare module '@fastify-scale/auth' {
  interface AuthUser {
    name: string
    roles: ('user' | 'admin')[]
  }
}
declare module '@fastify-scale/realtime' {
  interface ServerToClientEvents {
    photo: (photo: Photo) => void
    /** Which process holds this socket. */
    worker: (pid: number) => void
  }
}
