import type { Pool } from 'pg'

export interface Photo {
  /** Ascending, as text: larger than a JavaScript number may be. */
  id: string
  url: string
  caption: string
  author: string
  createdAt: string
}

const COLUMNS = `p.id::text AS id, p.url, p.caption, u.name AS author, to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "createdAt"`

export async function addPhoto(db: Pool, photo: { userId: string; url: string; caption: string }): Promise<Photo> {
  const { rows } = await db.query<Photo>(
    `WITH p AS (INSERT INTO photos (user_id, url, caption) VALUES ($1, $2, $3) RETURNING *)
     SELECT ${COLUMNS} FROM p JOIN users u ON u.id = p.user_id`,
    [photo.userId, photo.url, photo.caption],
  )
  return rows[0] as Photo
}

/** The newest photos, older than `before` where it is given: keyset pagination, as fast on page 1,000 as on page 1. */
export async function listPhotos(db: Pool, page: { before?: string; limit: number }): Promise<Photo[]> {
  const { rows } = await db.query<Photo>(
    `SELECT ${COLUMNS} FROM photos p JOIN users u ON u.id = p.user_id
     WHERE p.id < $1 ORDER BY p.id DESC LIMIT $2`,
    [page.before ?? '9223372036854775807', page.limit],
  )
  return rows
}
