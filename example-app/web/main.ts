import { createRealtimeClient } from '@fastify-scale/realtime/client'

interface Photo {
  id: string
  url: string
  caption: string
  author: string
  createdAt: string
}
interface Tokens {
  accessToken: string
  refreshToken: string
  expiresIn: number
}

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T
const status = find('status')
const login = find<HTMLFormElement>('login')
const upload = find<HTMLFormElement>('upload')
const list = find<HTMLUListElement>('photos')
let tokens: Tokens | undefined

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = new Headers(init.headers)
  if (tokens) headers.set('authorization', `Bearer ${tokens.accessToken}`)
  const response = await fetch(`/api${path}`, { ...init, headers })
  const body = (await response.json()) as T & { message?: string }
  if (!response.ok) throw new Error(body.message ?? response.statusText)
  return body
}

function show(photo: Photo): void {
  if (document.getElementById(`photo-${photo.id}`)) return
  const image = Object.assign(document.createElement('img'), {
    src: photo.url,
    alt: photo.caption || `Photo by ${photo.author}`,
    loading: 'lazy',
  })
  const caption = document.createElement('figcaption')
  caption.textContent = photo.caption ? `${photo.caption}, by ${photo.author}` : `by ${photo.author}`
  const figure = document.createElement('figure')
  figure.append(image, caption)
  const item = document.createElement('li')
  item.id = `photo-${photo.id}`
  item.append(figure)
  // Newest first, whatever order they came in.
  const next = [...list.children].find((other) => BigInt(other.id.slice(6)) < BigInt(photo.id))
  list.insertBefore(item, next ?? null)
}

async function loadPhotos(): Promise<void> {
  const { photos } = await call<{ photos: Photo[] }>('/photos')
  photos.forEach(show)
}

async function enter(): Promise<void> {
  login.hidden = true
  upload.hidden = false
  const socket = createRealtimeClient(location.origin, { getToken: async () => (tokens as Tokens).accessToken })
  socket.on('photo', (photo: Photo) => show(photo))
  await socket.join('board:main')
  await loadPhotos()
  status.textContent = 'New photos appear here as they are added.'
}

login.addEventListener('submit', (event) => {
  event.preventDefault()
  const action = (event.submitter as HTMLButtonElement).value
  const { name, password } = Object.fromEntries(new FormData(login))
  call<Tokens>(`/${action}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, password }),
  })
    .then(async (got) => {
      tokens = got
      await enter()
    })
    .catch((error: Error) => (status.textContent = error.message))
})

upload.addEventListener('submit', (event) => {
  event.preventDefault()
  // The caption goes before the file: the server has it before it reads the photo.
  const body = new FormData()
  body.set('caption', (upload.elements.namedItem('caption') as HTMLInputElement).value)
  body.set('file', (upload.elements.namedItem('file') as HTMLInputElement).files?.[0] as File)
  call<Photo>('/photos', { method: 'POST', body })
    .then((photo) => {
      show(photo)
      upload.reset()
    })
    .catch((error: Error) => (status.textContent = error.message))
})

loadPhotos().catch((error: Error) => (status.textContent = error.message))
