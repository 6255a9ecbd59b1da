/** The photos: newest first, whatever order they come in. */
import { call } from './api.ts'
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
  version: number
}
interface Page {
  photos: Photo[]
  next: string | null
}
interface Entry {
  photo: Photo
  item: HTMLLIElement
  /** What is drawn where; the picture stays in place when only a caption or a count changes. */
  parts: { picture: HTMLElement; caption: HTMLElement; actions: HTMLElement }
  /** What the buttons of the photo's owner were drawn for. */
  own?: string
}

const SURE_MS = 4_000

const list = find<HTMLUListElement>('photos')
const more = find<HTMLButtonElement>('more')
const shown = new Map<string, Entry>()
/** Messages of two workers may come in the wrong order: what was removed does not come back. */
const removed = new Set<string>()
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
  removed.add(id)
  takeAway(id)
}

function takeAway(id: string): void {
  shown.get(id)?.item.remove()
  shown.delete(id)
  find('empty').hidden = shown.size > 0
}

/** Loads the newest page; also after a live connection was away for too long. */
export async function loadPhotos(before?: string): Promise<void> {
  // What is heard of while the answer is on its way may be newer than the answer.
  const known = [...shown.keys()]
  const page = await call<Page>(`/photos?limit=24${before ? `&before=${before}` : ''}`, { anonymous: true })
  const last = page.photos.at(-1)
  // Older pages that were opened stay, unless there may be photos between them and what is new.
  const follows = page.next === null || (last !== undefined && known.includes(last.id))
  if (!before) {
    // What was removed meanwhile goes.
    const ids = new Set(page.photos.map(({ id }) => id))
    for (const id of known) if (!ids.has(id) && (!follows || !last || BigInt(id) > BigInt(last.id))) takeAway(id)
  }
  if (before || next === null || !follows) next = page.next
  more.hidden = next === null
  page.photos.forEach(draw)
  find('empty').hidden = shown.size > 0
  await loadLikes(page.photos)
}

async function loadLikes(photos: Photo[]): Promise<void> {
  if (!user || photos.length === 0) return
  const answer = await call<{ liked: string[] }>(`/likes?photos=${photos.map(({ id }) => id).join(',')}`)
  for (const id of answer.liked) {
    liked.add(id)
    const entry = shown.get(id)
    if (entry) draw(entry.photo)
  }
}

function draw(photo: Photo): void {
  if (removed.has(photo.id)) return
  const entry = shown.get(photo.id) ?? place(photo)
  // Of two changes the newer one is shown, whichever is heard of first.
  if (photo.version < entry.photo.version) return draw(entry.photo)
  entry.photo = photo
  const { parts, item } = entry
  const picture = drawPicture(photo, parts.picture)
  // Who is writing a caption is not interrupted by somebody's like.
  const caption = parts.caption.matches('form') ? parts.caption : drawCaption(photo)
  // Nor is who is about to press a button: those of the photo's owner stay as long as they mean the same.
  const own = `${user?.id === photo.authorId} ${photo.caption}`
  const actions = entry.own === own ? parts.actions : drawActions(entry)
  entry.own = own
  const focused = item.contains(document.activeElement) ? document.activeElement?.className.split(' ')[0] : undefined
  actions.querySelector('.like')?.replaceWith(likeButton(photo))
  for (const [name, part] of Object.entries({ picture, caption, actions }) as [keyof Entry['parts'], HTMLElement][]) {
    if (part !== parts[name]) parts[name].replaceWith(part)
    parts[name] = part
  }
  if (focused && !item.contains(document.activeElement)) item.querySelector<HTMLElement>(`.${focused}`)?.focus()
}

/** Makes the place for a photo, among the others by its id. */
function place(photo: Photo): Entry {
  const parts = { picture: make('div'), caption: make('div'), actions: make('div') }
  const item = make('li', { id: `photo-${photo.id}` }, make('figure', {}, ...Object.values(parts)))
  const older = [...shown.values()].filter((other) => BigInt(other.photo.id) < BigInt(photo.id))
  const nearest = older.reduce<Entry | undefined>(
    (best, one) => (best && BigInt(best.photo.id) > BigInt(one.photo.id) ? best : one),
    undefined,
  )
  list.insertBefore(item, nearest?.item ?? null)
  const entry: Entry = { photo, item, parts }
  shown.set(photo.id, entry)
  return entry
}

/** The thumbnail; until it is there, the original, for those who may see it. Both lead to the original. */
function drawPicture(photo: Photo, before: HTMLElement): HTMLElement {
  const original = user ? `/api/photos/${photo.id}/original` : undefined
  const src = photo.thumbnailUrl ?? original
  const title = photo.caption || `Photo by ${photo.author}`
  const image = before.querySelector('img')
  if (image && src && before.getAttribute('href') === (original ?? null)) {
    image.alt = title
    if ((image.dataset['next'] ?? image.getAttribute('src')) !== src) swap(image, src)
    return before
  }
  if (!src) return make('div', { class: 'picture waiting', role: 'img', 'aria-label': `${title}: log in to see it` })
  const picture = make('img', { src, alt: title, loading: 'lazy', decoding: 'async', width: '400', height: '300' })
  return original
    ? make('a', { class: 'picture', href: original, target: '_blank', rel: 'noopener' }, picture)
    : make('div', { class: 'picture' }, picture)
}

/** Shows another source when it is loaded: until then the old one stays. */
function swap(image: HTMLImageElement, src: string): void {
  image.dataset['next'] = src
  const loading = new Image()
  loading.src = src
  void loading
    .decode()
    .catch(() => undefined)
    .then(() => {
      if (image.dataset['next'] === src) image.src = src
    })
}

const moment = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: 'numeric',
  minute: '2-digit',
})

function drawCaption(photo: Photo): HTMLElement {
  const time = make('time', { datetime: photo.createdAt }, moment.format(new Date(photo.createdAt)))
  return make(
    'figcaption',
    {},
    make('span', { class: photo.caption ? 'caption' : 'caption none' }, photo.caption || 'No caption'),
    make('span', { class: 'by' }, `${photo.author} · `, time),
  )
}

function drawActions(entry: Entry): HTMLElement {
  const actions = make('div', { class: 'actions' }, likeButton(entry.photo))
  if (user?.id === entry.photo.authorId) actions.append(captionButton(entry), removeButton(entry.photo))
  return actions
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
      'aria-label': `${label}: ${user ? (on ? 'take yours back' : 'like it') : 'log in to like'}`,
    },
    make('span', { 'aria-hidden': 'true' }, `${on ? '♥' : '♡'} ${photo.likes}`),
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

function captionButton(entry: Entry): HTMLButtonElement {
  const name = `Edit the caption of ${entry.photo.caption || 'this photo'}`
  const button = make('button', { type: 'button', class: 'edit quiet', 'aria-label': name }, 'Edit')
  button.addEventListener('click', () => {
    if (!entry.parts.caption.matches('form')) editCaption(entry)
    entry.parts.caption.querySelector('input')?.select()
  })
  return button
}

function editCaption(entry: Entry): void {
  const { photo, parts, item } = entry
  const input = make('input', { value: photo.caption, maxlength: '200', 'aria-label': 'Caption' })
  const form = make('form', { class: 'caption-form' }, input, make('button', { class: 'save' }, 'Save'))
  const end = (now: Photo): void => {
    // No longer the form: drawn again, with the focus back where it came from.
    parts.caption = make('div')
    form.replaceWith(parts.caption)
    draw(now)
    item.querySelector<HTMLElement>('.edit')?.focus()
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    attempt(async () =>
      end(await call<Photo>(`/photos/${photo.id}`, { method: 'PATCH', json: { caption: input.value } })),
    )
  })
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') end(entry.photo)
  })
  parts.caption.replaceWith(form)
  parts.caption = form
}

/** What can't be undone is asked for twice. */
function removeButton(photo: Photo): HTMLButtonElement {
  const name = `Remove ${photo.caption || 'this photo'}`
  const button = make('button', { type: 'button', class: 'remove quiet', 'aria-label': name }, 'Remove')
  let sure = false
  const ask = (now: boolean): void => {
    sure = now
    button.textContent = sure ? 'Really remove?' : 'Remove'
    button.setAttribute('aria-label', sure ? `Really remove? ${photo.caption}` : name)
    button.classList.toggle('danger', sure)
  }
  button.addEventListener('click', () => {
    if (!sure) {
      ask(true)
      window.setTimeout(() => ask(false), SURE_MS)
      return
    }
    attempt(async () => {
      await call(`/photos/${photo.id}`, { method: 'DELETE' })
      removePhoto(photo.id)
      find('board').focus()
    })
  })
  return button
}

more.addEventListener('click', () => attempt(() => loadPhotos(next ?? undefined)))
