/** The live connection: websocket only, to whichever worker it meets; what it missed it gets when it is back. */
import { type RealtimeClient, createRealtimeClient } from '@fastify-scale/realtime/client'
import { type Photo, loadPhotos, removePhoto, showPhoto } from './board.ts'
import { showLive } from './answers.ts'
import { find } from './elements.ts'
import { getToken } from './session.ts'

interface Events {
  photo: (photo: Photo) => void
  removed: (photo: { id: string }) => void
  banner: (text: string) => void
  present: (names: string[]) => void
  worker: (pid: number, host: string) => void
}

let socket: RealtimeClient<Events, Record<string, never>> | undefined

export function showBanner(text: string): void {
  const banner = find('banner')
  banner.textContent = text
  banner.hidden = text === ''
}

export async function connect(onEnded: () => void): Promise<void> {
  disconnect()
  socket = createRealtimeClient<Events, Record<string, never>>(location.origin, {
    getToken: (reason) => getToken(reason !== 'connect'),
  })
  socket.on('photo', showPhoto)
  socket.on('removed', ({ id }) => removePhoto(id))
  socket.on('banner', showBanner)
  socket.on('present', (names) => {
    find('present').textContent = names.length > 0 ? `Here now: ${names.join(', ')}` : ''
  })
  socket.on('worker', (pid, host) => showLive(`${host}/${pid}`))
  socket.on('disconnect', () => showLive(undefined))
  // Messages were lost for good (history trimmed, Redis emptied): what is shown is loaded anew.
  socket.onResync(() => void loadPhotos().catch(() => undefined))
  socket.onEnded(onEnded)
  await socket.join('board:main')
}

export function disconnect(): void {
  socket?.disconnect()
  socket = undefined
  find('present').textContent = ''
}
