/** The photos: newest first, whatever order they come in. */
import { call, send } from './api.ts'
import { attempt, find, make } from './elements.ts'
import type { User } from './session.ts'

export interface Photo {
  id: string
  url: string
  thumbnailUrl: string | null
  caption: string
  author: string
  authorId: string
  likes: number
  createdAt: string
}
interface Page {
  photos: Photo[]
  next: string | null
}

const list = find<HTMLUListElement>('photos')
const more = find<HTMLButtonElement>('more')
const shown = new Map<string, { photo: Photo; item: HTMLLIElement }>()
const liked = new Set<string>()
let user: User | undefined
let next: string | null = null

export function setUser(now: User | undefined): void {
  user = now
  liked.clear()
  find('upload').hidden = !user
  for (const { photo } of shown.values()) draw(photo)
}

/** Adds a photo, or shows what has changed about it. */
export function showPhoto(photo: Photo): void {
  draw(photo)
  find('empty').hidden = shown.size > 0
}

export function removePhoto(id: string): void {
  shown.get(id)?.item.remove()
  shown.delete(id)
  find('empty').hidden = shown.size > 0
}

/** Loads the newest page; also after a live connection was away for too long. */
export async function loadPhotos(before?: string): Promise<void> {
  const page = await call<Page>(`/photos?limit=24${before ? `&before=${before}` : ''}`)
  if (!before) {
    // What was removed meanwhile goes; older pages that were opened stay.
    const last = page.photos.at(-1)
    const ids = new Set(page.photos.map(({ id }) => id))
    for (const id of shown.keys()) if (!ids.has(id) && (!last || BigInt(id) > BigInt(last.id))) removePhoto(id)
  }
  if (before || next === null) next = page.next
  more.hidden = next === null
  page.photos.forEach(draw)
  find('empty').hidden = shown.size > 0
  await loadLikes(page.photos)
}

async function loadLikes(photos: Photo[]): Promise<void> {
  if (!user || photos.length === 0) return
  const answer = await call<{ liked: string[] }>(`/likes?photos=${photos.map(({ id }) => id).join(',')}`)
  for (const id of answer.liked) liked.add(id)
  for (const { id } of photos) {
    const entry = shown.get(id)
    if (entry && liked.has(id)) draw(entry.photo)
  }
}

function source(photo: Photo): string | undefined {
  // Until the thumbnail is there, the original serves, for those who may see it.
  return photo.thumbnailUrl ?? (user ? `/api/photos/${photo.id}/original` : undefined)
}

function draw(photo: Photo): void {
  const before = shown.get(photo.id)
  const item = before?.item ?? make('li')
  const src = source(photo)
  const title = photo.caption || `Photo by ${photo.author}`
  let picture = item.querySelector('.picture')
  if (picture?.getAttribute('src') !== (src ?? null))
    picture = src
      ? make('img', { class: 'picture', src, alt: title, loading: 'lazy', decoding: 'async' })
      : make('div', { class: 'picture waiting', role: 'img', 'aria-label': `${title}; its thumbnail is being made` })
  const mine = user?.id === photo.authorId
  const caption = make(
    'figcaption',
    {},
    make('span', { class: 'caption' }, photo.caption || 'Untitled'),
    make('span', { class: 'by' }, photo.author),
  )
  const actions = make('div', { class: 'actions' }, likeButton(photo))
  if (mine) actions.append(captionButton(photo), removeButton(photo))
  const hadFocus = item.contains(document.activeElement) ? document.activeElement?.className : undefined
  item.replaceChildren(make('figure', {}, picture as Node, caption, actions))
  if (hadFocus) item.querySelector<HTMLElement>(`.${hadFocus.split(' ')[0]}`)?.focus()
  if (before) before.photo = photo
  else {
    item.id = `photo-${photo.id}`
    const following = [...shown.values()].filter((other) => BigInt(other.photo.id) < BigInt(photo.id))
    const nearest = following.sort((a, b) => (BigInt(a.photo.id) > BigInt(b.photo.id) ? -1 : 1))[0]
    list.insertBefore(item, nearest?.item ?? null)
    shown.set(photo.id, { photo, item })
  }
}

function likeButton(photo: Photo): HTMLButtonElement {
  const on = liked.has(photo.id)
  const label = `${photo.likes} ${photo.likes === 1 ? 'like' : 'likes'}`
  const button = make(
    'button',
    {
      type: 'button',
      class: 'like',
      'aria-pressed': String(on),
      'aria-label': `${label}: ${on ? 'take yours back' : 'like it'}`,
    },
    `${on ? '♥' : '♡'} ${photo.likes}`,
  )
  button.disabled = !user
  button.addEventListener('click', () =>
    attempt(async () => {
      const now = await call<Photo>(`/photos/${photo.id}/like`, { method: on ? 'DELETE' : 'PUT' })
      if (on) liked.delete(photo.id)
      else liked.add(photo.id)
      draw(now)
    }),
  )
  return button
}

function captionButton(photo: Photo): HTMLButtonElement {
  const button = make(
    'button',
    { type: 'button', class: 'edit quiet', 'aria-label': `Change the caption of ${photo.caption || 'this photo'}` },
    'Edit',
  )
  button.addEventListener('click', () => {
    const input = make('input', { value: photo.caption, maxlength: '200', 'aria-label': 'Caption' })
    const form = make('form', { class: 'caption-form' }, input, make('button', { class: 'save' }, 'Save'))
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      attempt(async () =>
        draw(await call<Photo>(`/photos/${photo.id}`, { method: 'PATCH', json: { caption: input.value } })),
      )
    })
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') draw(photo)
    })
    shown.get(photo.id)?.item.querySelector('figcaption')?.replaceWith(form)
    input.focus()
  })
  return button
}

function removeButton(photo: Photo): HTMLButtonElement {
  const button = make(
    'button',
    { type: 'button', class: 'remove quiet', 'aria-label': `Remove ${photo.caption || 'this photo'}` },
    'Remove',
  )
  button.addEventListener('click', () =>
    attempt(async () => {
      await call(`/photos/${photo.id}`, { method: 'DELETE' })
      removePhoto(photo.id)
    }),
  )
  return button
}

const upload = find<HTMLFormElement>('upload')
const progress = find<HTMLProgressElement>('progress')

async function uploadThroughApp(file: File, caption: string): Promise<Photo> {
  const form = new FormData()
  form.set('caption', caption)
  form.set('file', file)
  return send<Photo>('/api/photos', form, showProgress, true)
}

/** The file goes from the browser to S3; the app only gives the permission and checks what arrived. */
async function uploadToS3(file: File, caption: string): Promise<Photo> {
  const grant = await call<{ url: string; fields: Record<string, string>; key: string }>('/uploads', {
    method: 'POST',
    json: { contentType: file.type, size: file.size },
  })
  const form = new FormData()
  for (const [name, value] of Object.entries(grant.fields)) form.set(name, value)
  form.set('file', file)
  await send(grant.url, form, showProgress, false)
  return call<Photo>('/uploads/complete', { method: 'POST', json: { key: grant.key, caption } })
}

function showProgress(part: number): void {
  progress.value = part
}

upload.addEventListener('submit', (event) => {
  event.preventDefault()
  attempt(async () => {
    const data = new FormData(upload)
    const button = upload.querySelector('button') as HTMLButtonElement
    progress.hidden = false
    progress.value = 0
    button.disabled = true
    try {
      const caption = String(data.get('caption'))
      const file = data.get('file') as File
      showPhoto(data.get('direct') ? await uploadToS3(file, caption) : await uploadThroughApp(file, caption))
      upload.reset()
    } finally {
      progress.hidden = true
      button.disabled = false
    }
  })
})

more.addEventListener('click', () => attempt(() => loadPhotos(next ?? undefined)))
