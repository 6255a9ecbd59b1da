import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { startBoardServices } from '../../example-app/services.mjs'
import { migrate } from '../../example-app/dist/db/migrate.js'

const { Pool } = createRequire(import.meta.url)('pg')

/** What the page of the example asks for first. */
export const LIST = '/api/photos?limit=24'

/** Real services for the example app, with 30 photos. Returns its environment. */
export async function startBoard() {
  const services = await startBoardServices({ port: 0, environment: { ...process.env, ADMIN_NAMES: 'admin' } })
  try {
    await addPhotos(services.env.DATABASE_URL)
  } catch (error) {
    await services.stop()
    throw error
  }
  // In production it refuses the passwords of development's services.
  const env = { ...services.env, NODE_ENV: 'development', JWT_SECRET: randomBytes(48).toString('base64') }
  return { env, stop: () => services.stop() }
}

async function addPhotos(connectionString) {
  const db = new Pool({ connectionString })
  try {
    await migrate(db, { info: () => undefined })
    const { rows } = await db.query("INSERT INTO users (name, password_hash) VALUES ('bench', '-') RETURNING id")
    await db.query(
      `INSERT INTO photos (user_id, url, thumbnail_url, caption, likes)
       SELECT $1, 'https://cdn.example.com/photos/' || gen_random_uuid() || '.jpg',
         'https://cdn.example.com/thumbnails/' || gen_random_uuid() || '.webp', 'Photo number ' || n || ', with a caption', n
       FROM generate_series(1, 30) n`,
      [rows[0].id],
    )
  } finally {
    await db.end()
  }
}
