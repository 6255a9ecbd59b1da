import { type PostgresServer, startPostgres } from '@fastify-scale/dev-services'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { migrate } from '../src/db/migrate.ts'
import { photosWithoutThumbnail, queries as photoQueries, setUnreadable } from '../src/db/photos.ts'
import { queries as userQueries } from '../src/db/users.ts'

const PHOTOS = 100_000
const USERS = 2_000
/** The promise is 5 ms of database time for a page; a busy machine gets five times that. */
const PAGE_MS = 25

interface Plan {
  'Node Type': string
  'Rows Removed by Filter'?: number
  Plans?: Plan[]
}
interface Explained {
  Plan: Plan
  'Planning Time': number
  'Execution Time': number
}

let server: PostgresServer
let db: pg.Pool
const some = { user: '', photo: '50000', photos: [] as string[], url: '', thumbnail: '', name: 'user 77' }

beforeAll(async () => {
  server = await startPostgres()
  db = new pg.Pool({ connectionString: await server.createDatabase(), max: 1 })
  await migrate(db, { info: () => undefined } as never)
  await db.query(
    `INSERT INTO users (name, password_hash) SELECT 'user ' || n, 'none' FROM generate_series(1, ${USERS}) n`,
  )
  await db.query(`
    WITH u AS (SELECT array_agg(id ORDER BY name) AS ids FROM users)
    INSERT INTO photos (user_id, url, thumbnail_url, caption)
    SELECT ids[1 + (n * 7919) % ${USERS}], 'https://s3.example/private/photos/' || n || '.jpg',
      'https://s3.example/public/thumbnails/' || n || '.webp', 'caption ' || n
    FROM u, generate_series(1, ${PHOTOS}) n`)
  await db.query(`
    WITH u AS (SELECT array_agg(id ORDER BY name) AS ids FROM users)
    INSERT INTO likes (photo_id, user_id)
    SELECT p.id, ids[1 + (p.id * 31 + k * 977) % ${USERS}] FROM u, photos p, generate_series(1, 2) k`)
  await db.query('ANALYZE')
  const { rows } = await db.query(
    'SELECT user_id AS "user", url, thumbnail_url AS thumbnail FROM photos WHERE id = 50000',
  )
  Object.assign(some, rows[0], { photos: Array.from({ length: 100 }, (_, i) => String(50_000 + i)) })
}, 120_000)

afterAll(async () => {
  await db?.end()
  await server?.stop()
})

/** Runs a query under EXPLAIN ANALYZE and takes back what it changed. */
async function explain(query: string, values: unknown[]): Promise<Explained> {
  await db.query('BEGIN')
  try {
    const { rows } = await db.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${query}`, values)
    return (rows[0] as { 'QUERY PLAN': [Explained] })['QUERY PLAN'][0]
  } finally {
    await db.query('ROLLBACK')
  }
}

function nodes(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodes)]
}

/** What each query is asked with. A query that is added without a line here fails to compile, and the test. */
const photoValues: Record<keyof typeof photoQueries, () => unknown[]> = {
  add: () => [some.user, 'https://s3.example/new.jpg', 'new', 'pending/new'],
  list: () => ['9223372036854775807', 30],
  listOfUser: () => ['9223372036854775807', 30, some.user],
  find: () => [some.photo],
  setCaption: () => [some.photo, some.user, 'other'],
  setThumbnail: () => [some.photo, 'https://s3.example/new.webp'],
  like: () => [some.photo, some.user],
  unlike: () => [some.photo, some.user],
  remove: () => [some.photo, some.user],
  likedOf: () => [some.user, some.photos],
  withoutThumbnail: () => ['0', 100],
  setUnreadable: () => [some.photo, 'no picture'],
  findOfUpload: () => ['pending/50000'],
  // As many as a page of an S3 listing.
  referenced: () => [
    [some.url, some.thumbnail, ...Array.from({ length: 998 }, (_, i) => `https://s3.example/${i}.jpg`)],
  ],
}
const userValues: Record<keyof typeof userQueries, () => unknown[]> = {
  add: () => ['nobody yet', 'none', ['user']],
  findByName: () => [some.name],
  names: () => [[some.user]],
}

test.each([
  ...Object.entries(photoQueries).map(([name, query]) => [`photos.${name}`, query, photoValues] as const),
  ...Object.entries(userQueries).map(([name, query]) => [`users.${name}`, query, userValues] as const),
])('%s reads no table from end to end', async (name, query, values) => {
  const value = (values as Record<string, () => unknown[]>)[name.split('.')[1] as string]
  const explained = await explain(query, (value as () => unknown[])())
  const read = nodes(explained.Plan)
  expect(read.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([])
  // An index that finds too much, to be thrown away afterwards, is none.
  expect(Math.max(...read.map((node) => node['Rows Removed by Filter'] ?? 0))).toBeLessThan(1_000)
  // Inserting alone looks nothing up; everything else goes by an index.
  if (name !== 'users.add') expect(read.some((node) => node['Node Type'].includes('Index'))).toBe(true)
})

test('photos without a thumbnail are found in order of their numbers, all of them, and none that can have none', async () => {
  const other = new pg.Pool({ connectionString: await server.createDatabase(), max: 1 })
  onTestFinished(() => other.end())
  await migrate(other, { info: () => undefined } as never)
  await other.query("INSERT INTO users (name, password_hash) VALUES ('anna', 'none')")
  await other.query('INSERT INTO photos (user_id, url) SELECT u.id, n::text FROM users u, generate_series(1, 250) n')
  await other.query("UPDATE photos SET thumbnail_url = 'thumbnail ' || id WHERE id % 10 = 0")
  for (const id of ['1', '98', '99', '101']) await setUnreadable(other, id, 'no picture')
  const pages: string[][] = []
  for await (const ids of photosWithoutThumbnail(other)) pages.push(ids)
  const wanted = Array.from({ length: 250 }, (_, i) => i + 1)
    .filter((id) => id % 10 !== 0 && ![1, 98, 99, 101].includes(id))
    .map(String)
  expect(pages.flat()).toEqual(wanted)
  expect(pages.map((ids) => ids.length)).toEqual([100, 100, 21])
})

test('a page of the list stays cheap, however far back', async () => {
  const pages: [string, unknown[]][] = [
    [photoQueries.list, ['9223372036854775807', 100]],
    [photoQueries.list, ['1000', 100]],
    [photoQueries.listOfUser, ['9223372036854775807', 100, some.user]],
    [photoQueries.likedOf, [some.user, some.photos]],
  ]
  const took: number[] = []
  for (const [query, values] of pages) {
    const runs: number[] = []
    for (let i = 0; i < 5; i++) {
      const explained = await explain(query, values)
      runs.push(explained['Planning Time'] + explained['Execution Time'])
    }
    took.push(Math.min(...runs))
  }
  console.log(`database time of a page: ${took.map((ms) => `${ms.toFixed(2)} ms`).join(', ')}`)
  expect(Math.max(...took), took.map((ms) => `${ms.toFixed(2)} ms`).join(', ')).toBeLessThan(PAGE_MS)
})
