import type {} from '@fastify-scale/auth'
import type {} from '@fastify-scale/realtime'
import type {} from '@fastify-scale/settings'
import type { Photo } from './db/photos.ts'
import type { Action } from './routes/admin.ts'

// What this service puts into its tokens, the events that it sends, its settings.
declare module '@fastify-scale/auth' {
  interface AuthUser {
    name: string
    roles: ('user' | 'admin')[]
  }
}
declare module '@fastify-scale/realtime' {
  interface ServerToClientEvents {
    /** A photo was added or changed. */
    photo: (photo: Photo) => void
    removed: (photo: { id: string }) => void
    banner: (text: string) => void
    /** Who has the board open. */
    present: (names: string[]) => void
    /** Which process, of which host, holds this socket. */
    worker: (pid: number, host: string) => void
  }
  interface InterServerEvents {
    clusterAction: (action: Action) => void
    /** A page has come to the board, on another worker. */
    pageOpened: () => void
  }
}
declare module '@fastify-scale/settings' {
  interface Settings {
    banner: string
  }
}
