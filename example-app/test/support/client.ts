import { Agent, request } from 'node:http'
import { deflateSync } from 'node:zlib'
import { waitFor } from '@fastify-scale/dev-services'
import { createRealtimeClient } from '@fastify-scale/realtime/client'
import type { Photo } from '../../src/db/photos.ts'

export interface Answer<T> {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: T
  /** The process that answered. */
  pid: number
}

/** One request on a connection of its own, so that every one may meet another worker. */
export function call<T>(
  url: string,
  init: { method?: string; token?: string; json?: unknown; body?: Buffer; headers?: Record<string, string> } = {},
): Promise<Answer<T>> {
  const payload = init.json === undefined ? init.body : Buffer.from(JSON.stringify(init.json))
  const headers = {
    ...(init.json === undefined ? {} : { 'content-type': 'application/json' }),
    ...(init.token ? { authorization: `Bearer ${init.token}` } : {}),
    ...(payload ? { 'content-length': String(payload.length) } : {}),
    ...init.headers,
  }
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: init.method ?? 'GET', headers, agent: new Agent() }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const isJson = response.headers['content-type']?.includes('application/json')
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: (isJson ? JSON.parse(text) : text) as T,
          pid: Number(String(response.headers['x-served-by']).split('/')[1]),
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(payload)
  })
}

export interface Tokens {
  accessToken: string
  refreshToken: string
  expiresIn: number
}

export const PASSWORD = 'correct horse battery'

export async function signUp(base: string, name: string): Promise<Tokens> {
  const answer = await call<Tokens & { message?: string }>(`${base}/api/signup`, {
    method: 'POST',
    json: { name, password: PASSWORD },
  })
  if (answer.status !== 201) throw new Error(`sign-up: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body
}

/** A photo that is really a PNG: `size` x `size` pixels of noise. */
export function makePng(size: number): Buffer {
  const rows = Buffer.alloc(size * (size * 3 + 1))
  for (let i = 0; i < rows.length; i++) rows[i] = i % (size * 3 + 1) === 0 ? 0 : (i * 7_919) % 251
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length)
    body.copy(out, 4)
    out.writeUInt32BE(crc32(body), body.length + 4)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function crc32(data: Buffer): number {
  let crc = ~0
  for (const byte of data) {
    crc ^= byte
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return ~crc >>> 0
}

export function uploadPhoto(
  base: string,
  token: string,
  caption: string,
  file: Buffer = makePng(64),
): Promise<Answer<Photo>> {
  const boundary = '----photo-board'
  const body = Buffer.concat([
    Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="caption"\r\n\r\n${caption}\r\n`),
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="photo.png"\r\ncontent-type: image/png\r\n\r\n`,
    ),
    file,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ])
  return call<Photo>(`${base}/api/photos`, {
    method: 'POST',
    token,
    body,
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  })
}

/** A new photo apart from its thumbnail, which may come at any moment. */
export function plain(photo: Photo | undefined): Photo | undefined {
  return photo && { ...photo, thumbnailUrl: null, version: 0 }
}

/** A page that is open: what it has seen, and which worker holds its socket. */
export interface OpenPage {
  photos: Photo[]
  worker: number
  host: string
  close(): void
}

export async function openPage(base: string, token: string): Promise<OpenPage> {
  const socket = createRealtimeClient<
    { photo: (photo: Photo) => void; worker: (pid: number, host: string) => void },
    Record<string, never>
  >(base, {
    getToken: () => token,
  })
  const page: OpenPage = { photos: [], worker: 0, host: '', close: () => socket.disconnect() }
  // Shown once, however often it changes: its thumbnail follows a moment later.
  socket.on('photo', (photo) => {
    const at = page.photos.findIndex(({ id }) => id === photo.id)
    if (at === -1) page.photos.push(photo)
    else if (photo.version > (page.photos[at] as Photo).version) page.photos[at] = photo
  })
  const held = new Promise<void>((resolve) =>
    // Again after each reconnection.
    socket.on('worker', (pid, host) => {
      Object.assign(page, { worker: pid, host })
      resolve()
    }),
  )
  await socket.join('board:main')
  await held
  return page
}

/** Opens pages until one is held by another worker than `other`; those on the way are closed. */
export async function openPageElsewhere(base: string, token: string, other: number): Promise<OpenPage> {
  // The address is printed when the first worker is ready: the second may still be on its way.
  return waitFor(
    async () => {
      const page = await openPage(base, token)
      if (page.worker !== other) return page
      page.close()
      return undefined
    },
    { timeout: 30_000, message: `a socket on another worker than ${other}` },
  ) as Promise<OpenPage>
}
