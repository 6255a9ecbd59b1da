import type { Pool } from 'pg'

export interface Photo {
  /** Ascending, as text: larger than a JavaScript number may be. */
  id: string
  /** Of the original: private, read through /api/photos/:id/original. */
  url: string
  /** Public; null until it is made. */
  thumbnailUrl: string | null
  caption: string
  author: string
  authorId: string
  likes: number
  createdAt: string
  /** One more with each change: who hears of two changes in the wrong order knows which is the newer one. */
  version: number
}

const COLUMNS = `p.id::text AS id, p.url, p.thumbnail_url AS "thumbnailUrl", p.caption, u.name AS author, p.user_id AS "authorId", p.likes, p.version,
  to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "createdAt"`
const LAST_ID = '9223372036854775807'

/** Every query of this file by name, so that a test can ask PostgreSQL how it runs each. */
export const queries = {
  add: `WITH p AS (INSERT INTO photos (user_id, url, caption, upload_key) VALUES ($1, $2, $3, $4) RETURNING *)
    SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
  // Keyset pagination: as fast on page 1,000 as on page 1.
  list: `SELECT ${COLUMNS} FROM photos p JOIN users u ON u.id = p.user_id WHERE p.id < $1 ORDER BY p.id DESC LIMIT $2`,
  listOfUser: `SELECT ${COLUMNS} FROM photos p JOIN users u ON u.id = p.user_id WHERE p.user_id = $3 AND p.id < $1 ORDER BY p.id DESC LIMIT $2`,
  find: `SELECT ${COLUMNS} FROM photos p JOIN users u ON u.id = p.user_id WHERE p.id = $1`,
  findOfUpload: `SELECT ${COLUMNS} FROM photos p JOIN users u ON u.id = p.user_id WHERE p.upload_key = $1`,
  setCaption: `WITH p AS (UPDATE photos SET caption = $3, version = version + 1 WHERE id = $1 AND user_id = $2 RETURNING *)
    SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
  setThumbnail: `WITH p AS (UPDATE photos SET thumbnail_url = $2, version = version + 1 WHERE id = $1 RETURNING *)
    SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
  // The count is changed only by a like that was not there, in the same statement: it cannot drift.
  like: `WITH l AS (INSERT INTO likes (photo_id, user_id) SELECT id, $2 FROM photos WHERE id = $1 ON CONFLICT DO NOTHING RETURNING photo_id),
    p AS (UPDATE photos SET likes = likes + (SELECT count(*)::int FROM l), version = version + 1 WHERE id = $1 RETURNING *)
    SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
  unlike: `WITH l AS (DELETE FROM likes WHERE photo_id = $1 AND user_id = $2 RETURNING photo_id),
    p AS (UPDATE photos SET likes = likes - (SELECT count(*)::int FROM l), version = version + 1 WHERE id = $1 RETURNING *)
    SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
  remove: 'DELETE FROM photos WHERE id = $1 AND user_id = $2 RETURNING url, thumbnail_url AS "thumbnailUrl"',
  likedOf: 'SELECT photo_id::text AS id FROM likes WHERE user_id = $1 AND photo_id = ANY($2::bigint[])',
  // For the sweep of orphaned objects: of these URLs, which does a row point to?
  referenced: `SELECT url FROM photos WHERE url = ANY($1) UNION ALL SELECT thumbnail_url FROM photos WHERE thumbnail_url = ANY($1)`,
  setUnreadable: 'UPDATE photos SET unreadable = $2 WHERE id = $1',
  // By the number: `id` alone would be the text.
  withoutThumbnail: `SELECT p.id::text AS id FROM photos p
    WHERE p.thumbnail_url IS NULL AND p.unreadable IS NULL AND p.id > $1 ORDER BY p.id LIMIT $2`,
} as const

async function one<T = Photo>(db: Pool, query: string, values: unknown[]): Promise<T | undefined> {
  const { rows } = await db.query(query, values)
  return rows[0] as T | undefined
}

/** `uploadKey` of an upload straight to S3: it is added once, a second time the database refuses it. */
export async function addPhoto(
  db: Pool,
  photo: { userId: string; url: string; caption: string; uploadKey?: string },
): Promise<Photo> {
  return (await one(db, queries.add, [photo.userId, photo.url, photo.caption, photo.uploadKey])) as Photo
}

/** The newest photos, older than `before` and of one user where these are given. */
export async function listPhotos(
  db: Pool,
  page: { before?: string; limit: number; userId?: string },
): Promise<Photo[]> {
  const { before = LAST_ID, limit, userId } = page
  const { rows } = userId
    ? await db.query<Photo>(queries.listOfUser, [before, limit, userId])
    : await db.query<Photo>(queries.list, [before, limit])
  return rows
}

export const findPhoto = (db: Pool, id: string): Promise<Photo | undefined> => one(db, queries.find, [id])

/** The photo that an upload straight to S3 became. */
export const findPhotoOfUpload = (db: Pool, uploadKey: string): Promise<Photo | undefined> =>
  one(db, queries.findOfUpload, [uploadKey])

/** `undefined` where there is no such photo of this user's. */
export const setCaption = (db: Pool, id: string, userId: string, caption: string): Promise<Photo | undefined> =>
  one(db, queries.setCaption, [id, userId, caption])

export const setThumbnail = (db: Pool, id: string, url: string): Promise<Photo | undefined> =>
  one(db, queries.setThumbnail, [id, url])

/** Liking twice is liking once. */
export const likePhoto = (db: Pool, id: string, userId: string): Promise<Photo | undefined> =>
  one(db, queries.like, [id, userId])

export const unlikePhoto = (db: Pool, id: string, userId: string): Promise<Photo | undefined> =>
  one(db, queries.unlike, [id, userId])

export const removePhoto = (
  db: Pool,
  id: string,
  userId: string,
): Promise<{ url: string; thumbnailUrl: string | null } | undefined> => one(db, queries.remove, [id, userId])

/** Those of the URLs that a row points to. */
export async function referencedUrls(db: Pool, urls: string[]): Promise<Set<string>> {
  const { rows } = await db.query<{ url: string }>(queries.referenced, [urls])
  return new Set(rows.map(({ url }) => url))
}

/** Those of the photos that this user likes. */
export async function likedOf(db: Pool, userId: string, ids: string[]): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(queries.likedOf, [userId, ids])
  return rows.map(({ id }) => id)
}

/** Remembers why there can be no thumbnail of a photo: nobody tries again. */
export async function setUnreadable(db: Pool, id: string, why: string): Promise<void> {
  await db.query(queries.setUnreadable, [id, why])
}

/** Photos that still have no thumbnail and may get one, the oldest first, a page at a time. */
export async function* photosWithoutThumbnail(db: Pool, pageSize = 100): AsyncGenerator<string[], void> {
  for (let last = '0'; ; ) {
    const { rows } = await db.query<{ id: string }>(queries.withoutThumbnail, [last, pageSize])
    if (rows.length === 0) return
    yield rows.map(({ id }) => id)
    last = (rows.at(-1) as { id: string }).id
  }
}
